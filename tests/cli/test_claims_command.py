from __future__ import annotations

from pathlib import Path

import pytest
from command import harness


def test_claims_are_printed_with_stated_recomputed_source_verdict_and_why(tmp_path: Path) -> None:
    shown = harness("claims", "--article", "004_ru", cwd=tmp_path)
    assert shown.code == 0, shown.err
    flat = " ".join(shown.out.replace("│", " ").split())
    for words in ("C404", "4.088", "holds", "outdated", "inconsistent", "8 claims:", "arXiv:2311.16863"):
        assert words in flat
    assert "C004" not in shown.out


def test_json_has_everything_once(tmp_path: Path) -> None:
    found = harness("claims", "--json", cwd=tmp_path).document
    assert len(found["claims"]) == 69
    assert len(found["articles"]) == 5
    assert sum(found["verdicts"].values()) == 69
    assert set(found["verdicts"]) >= {"holds", "holds (unverified)", "garbled (unverified)"}
    price = next(claim for claim in found["claims"] if claim["id"] == "C004")
    assert price["recomputed"][1]["value"] == 23
    assert {"stated", "recomputed", "source", "verdict", "why", "factors", "checked"} <= set(price)
    assert all(factor["source"] for factor in price["factors"])


@pytest.mark.parametrize("article", ["009", "", "00"])
def test_an_unknown_article_is_one_sentence_and_exit_two(tmp_path: Path, article: str) -> None:
    refused = harness("claims", "--article", article, cwd=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert "nearest" in refused.err.splitlines()[0]
