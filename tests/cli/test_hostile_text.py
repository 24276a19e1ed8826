"""Text that others wrote is text: no markup of the console, no command to the terminal, no line turned around."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from codecarbon_files import RUN_COLUMNS, row, write
from command import harness
from report_records import record_of
from rich.text import Text

from harness.cli.tables import Screen
from harness.plain_text import blotted, visible
from harness.records import RunRecord
from harness.store.migrate import migrate

EVIL = "[/nope]\x1b[2J\x9b\u202e"
SPELLED = "[/nope]\\u001b[2J\\u009b\\u202e"
VERSION_1 = Path(__file__).parents[1] / "store" / "version_1"


def paths_of(content: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(content, str):
        return [above]
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path for key, part in parts for path in paths_of(part, (*above, key))]


def hostile(record: dict[str, Any]) -> dict[str, Any]:
    """The record with the evil text wherever its schema takes any."""
    free: set[tuple[str | int, ...]] = set()
    refused: set[tuple[str | int, ...]] = set()
    for path in paths_of(record):
        kind = tuple("*" if isinstance(key, int) else key for key in path)
        if kind in refused or "*" in path[:1] or path[-1] in ("run_id", "campaign", "source_id"):
            continue
        if path[0] == "sources" and path[-1] == "id":
            continue
        part = record
        for key in path[:-1]:
            part = part[key]
        before, part[path[-1]] = part[path[-1]], EVIL
        try:
            if kind not in free:
                RunRecord.model_validate(record)
            free.add(kind)
        except ValueError:
            part[path[-1]] = before
            refused.add(kind)
    assert len(free) >= 9
    return record


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of hostile records: measured, served, failed."""
    folder = tmp_path_factory.mktemp("results")
    shutil.copytree(VERSION_1 / "served", folder / "served")
    migrate(folder / "served", write=True)
    (path,) = (folder / "served").glob("*/record.json")
    failure = {"kind": "k", "message": "m", "hint": "h", "phase": "load", "stderr_tail": "s"}
    failed = record_of(status="failed", summary=None, measurements=(), failure=failure, run_id="failed")
    documents = [json.loads(path.read_text()), *(json.loads(r.model_dump_json()) for r in (record_of(), failed))]
    for index, document in enumerate(documents):
        run = folder / "evil" / f"run-{index}"
        run.mkdir(parents=True)
        (run / "record.json").write_text(json.dumps(hostile(document) | {"run_id": run.name, "campaign": "evil"}))
    return folder / "evil"


def is_harmless(text: str) -> bool:
    return blotted(text) == text


@pytest.mark.parametrize(
    "arguments",
    [
        *(["show"], ["show", "--table"], ["show", "run-0"], ["show", "run-1"], ["show", "run-2"], ["list"]),
        *(["show", "--uncertainty"], ["show", "--sweep"], ["compare", "run-0", "run-1"], ["explain", "run-1"]),
        *(["validate"], ["show", "run-1", "--json"], ["report", "--markdown", "a.md", "--csv", "a.csv"]),
    ],
    ids=" ".join,
)
def test_no_command_obeys_what_a_record_says(arguments: list[str], results: Path, tmp_path: Path) -> None:
    where = ["--results", results] if arguments[0] != "validate" else [results]
    answer = harness(*arguments, *where, cwd=tmp_path)
    assert answer.code in (0, 1, 2)
    assert is_harmless(answer.out + answer.err)
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert all(map(is_harmless, written))
    if "--json" in arguments:
        assert answer.document["record"]["sources"][0]["device_name"] == EVIL
    elif arguments[0] == "show" and "--sweep" not in arguments:
        assert SPELLED in " ".join(answer.out.split())


def test_an_import_is_told_as_text(tmp_path: Path) -> None:
    cells = {"project_name": EVIL, "gpu_model": f"1 x {EVIL}", "cpu_model": EVIL}
    write(tmp_path / "emissions.csv", RUN_COLUMNS, row(**cells))
    imported = harness("import", "codecarbon", "emissions.csv", cwd=tmp_path)
    shown = harness("show", "codecarbon", cwd=tmp_path)
    assert is_harmless(imported.out + imported.err + shown.out + shown.err)
    assert "\\u001b" in imported.out + imported.err + shown.out


def test_an_error_names_a_hostile_path_harmlessly(tmp_path: Path) -> None:
    (tmp_path / f"a{EVIL.replace('/', '')}").mkdir()
    answer = harness("run", f"a{EVIL.replace('/', '')}/none.yaml", cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: There is no config a[nope]\\u001b[2J\\u009b\\u202e/none.yaml.")


def test_a_console_spells_strings_out_and_blots_what_is_laid_out_already() -> None:
    out = Screen(file=io.StringIO(), width=80, highlight=False, force_terminal=True, color_system="standard")
    out.print(EVIL, markup=False)
    out.print(f"[red]a[/] {visible(EVIL[7:])}")
    out.print(Text(EVIL))
    assert out.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        SPELLED,
        "\x1b[31ma\x1b[0m \\u001b[2J\\u009b\\u202e",
        "[/nope]\N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}" * 2,
    ]
    assert json.loads(f'"{visible(EVIL)}"') == EVIL
    assert visible("two\tcells\nand a line, ü") == "two\tcells\nand a line, ü"
