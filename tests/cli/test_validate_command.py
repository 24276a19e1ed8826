"""`harness validate`, and the options of `harness run` that concern a whole campaign, as a user sees them."""

from __future__ import annotations

from pathlib import Path

from command import QUICK, config, harness

SHORT = QUICK.replace(
    "{window_s: 2, null_window_s: 1, idle_s: 1, warm_up_max_s: 4, max_repeats: 5}",
    "{window_s: 1, null_window_s: 0.5, idle_s: 0.5, warm_up_max_s: 0, min_repeats: 2, max_repeats: 2}",
).replace("clock: virtual", "clock: virtual, counter_period_s: 0.02")


def test_a_campaign_is_planned_run_checked_and_a_changed_file_named(tmp_path: Path) -> None:
    no_room = SHORT.replace("batch_size: 4", "batch_size: [4, 2000]").replace(
        "defaults:", "retry: {halve_batch: true}\ndefaults:"
    )
    path = config(tmp_path, no_room)
    plan = harness("run", path, "--dry-run", "--json", cwd=tmp_path).document
    assert plan["total"]["runs_of_unknown_duration"] == 3
    assert plan["total"]["simulated"]
    assert sorted(run["position"] for run in plan["runs"]) == [1, 2, 3]
    answer = harness("run", path, "--in-process", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert (answer.document["completed"], answer.document["failed"], answer.document["tried_again"]) == (3, 0, 1)
    assert [
        (row["status"], row["batch_size"]) for row in answer.document["runs"] if row["model"] == "pretend-text"
    ] == [
        ("complete", 4),
        ("failed", 2000),
        ("complete", 1000),
    ]
    assert "half of a batch that did not fit" in answer.err
    assert "3 done, 0 failed, 0 left" in answer.err
    assert " J in windows so far (simulated)" in answer.err
    told = harness("run", path, "--retry-failed", cwd=tmp_path)
    assert "0 complete, 0 failed, 3 already done" in told.out

    half = harness("show", "pretend-text-b1000", cwd=tmp_path).out
    assert "half the batch of pretend-text-b2000-" in half
    assert "order interleaved (seed 0)" in half

    assert harness("validate", cwd=tmp_path).out.startswith("results/quick: 4 runs, 0 problems")
    (trace,) = (tmp_path / "results" / "quick").glob("pretend-image*/trace.parquet")
    trace.write_bytes(trace.read_bytes()[:-1])
    answer = harness("validate", "quick", cwd=tmp_path)
    assert answer.code == 1
    assert f"problem: {trace.relative_to(tmp_path)}: changed: The content is not the one that was kept" in answer.out
    document = harness("validate", "--json", cwd=tmp_path).document
    assert [finding["code"] for finding in document["campaigns"][0]["findings"]] == ["changed", "unreadable"]
    answer = harness("validate", "quik", cwd=tmp_path)
    assert (answer.code, "Did you mean quick?" in answer.err) == (2, True)


def test_what_cannot_go_together_is_refused(tmp_path: Path) -> None:
    path = config(tmp_path, SHORT)
    answer = harness("run", path, "--in-process", "--parallel", cwd=tmp_path)
    assert (answer.code, "one run at a time" in answer.err) == (2, True)
    assert harness("validate", cwd=tmp_path).code == 2
