"""Every row of the fault table names tests that exist."""

from __future__ import annotations

import ast
from pathlib import Path

from fault_table import FAULTS, markdown

TESTS = Path(__file__).parent.parent


def test_every_fault_has_proofs_and_every_proof_is_a_test() -> None:
    files = {proof.split("::")[0] for fault in FAULTS for proof in fault.proofs}
    known = {
        f"{file}::{node.name}"
        for file in files
        for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    for fault in FAULTS:
        assert fault.proofs, fault.name
        assert {proof.split("#")[0] for proof in fault.proofs} <= known, fault.name
        for file, case in (proof.split("::")[0:1] + proof.split("#")[1:] for proof in fault.proofs if "#" in proof):
            assert f'"{case}": Case(' in (TESTS / file).read_text(encoding="utf-8")
    assert len(markdown().splitlines()) == len(FAULTS) + 2
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
