"""A campaign from plan to records: order, lanes, what is tried again, what is kept. Nothing is measured here."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from campaigns import Scripted, Silent, failure, spec_of
from report_records import record_of

from harness.campaign import CampaignOptions, Retry
from harness.errors import UserInputError
from harness.measure.base import Progress
from harness.records import RunRecord
from harness.run.config import Plan
from harness.run.lanes import HELD, HOLD, gpu_lanes, refuse_parallel
from harness.run.order import ordered
from harness.run.runner import _of_company, pending, run_campaign
from harness.store.files import RECORD, SUPERSEDED, read_record, write_run
from harness.store.manifest import read_manifest


def options(**retry: object) -> CampaignOptions:
    return CampaignOptions(order="as-written", retry=Retry.model_validate(retry))


def test_interleaving_spreads_every_model_over_the_campaign_and_is_the_same_again() -> None:
    specs = [spec_of(model, batch) for model, runs in (("a", 12), ("b", 12), ("c", 4)) for batch in range(1, runs + 1)]
    order = ordered(specs, "interleaved", 7)
    assert sorted(spec.run_id for spec in order) == sorted(spec.run_id for spec in specs)
    assert order == ordered(specs, "interleaved", 7) != ordered(specs, "interleaved", 8)
    assert ordered(specs, "as-written", 7) == tuple(specs)
    for model, runs in (("a", 12), ("b", 12), ("c", 4)):  # each k-th of the campaign holds its run, up to a neighbour's
        places = [index / len(specs) * runs for index, spec in enumerate(order) if spec.model.id == model]
        assert all(abs(place - (number + 0.5)) < 1.5 for number, place in enumerate(places)), places


def test_interleaving_spreads_the_repeats_of_every_configuration_too() -> None:
    specs = [spec_of("m", dtype=dtype, seed=seed) for dtype in ("float32", "float16") for seed in range(5)]
    for chance in range(50):
        order = ordered(specs, "interleaved", chance)
        for fifth in range(5):  # one repeat of each in every fifth
            assert {spec.dtype for spec in order[2 * fifth : 2 * fifth + 2]} == {"float32", "float16"}, chance
    served = {"engine": "openai", "server": {"base_url": "http://127.0.0.1:8000", "concurrency": 1}}
    assert ordered([spec_of("m", **served)], "interleaved", 0) == (spec_of("m", **served),)  # mappings have no hash
    firsts = [ordered(specs, "interleaved", chance)[0].dtype for chance in range(50)]
    assert 10 < firsts.count("float32") < 40  # which comes first is left to chance


def test_a_driver_that_fails_is_asked_again_and_the_record_says_so(tmp_path: Path) -> None:
    bad, dead, crash = spec_of("bad"), spec_of("dead"), spec_of("crash")
    outcomes = {
        bad.run_id: lambda attempt: failure("source_unavailable", "NVML: Timeout.") if attempt == 1 else None,
        dead.run_id: lambda attempt: failure("source_unavailable", "NVML: GPU is lost."),
        crash.run_id: lambda attempt: failure("crashed"),
    }
    executor = Scripted(lambda spec, attempt: outcomes[spec.run_id](attempt))
    plan = Plan("c", (bad, dead, crash), options(driver=2))
    result = run_campaign(plan, tmp_path, executor, Silent())
    assert [executor.calls.count(spec.run_id) for spec in plan.specs] == [2, 3, 1]
    assert [record.run_id for record in result.complete] == [bad.run_id]
    assert {record.run_id for record in result.failed} == {dead.run_id, crash.run_id}
    assert len(result.overtaken) == 3
    record = read_record(tmp_path / "c" / bad.run_id / RECORD)
    assert record.scheduled is not None
    assert (record.scheduled.attempt, record.scheduled.earlier) == (2, ("NVML: Timeout.",))
    assert len(list((tmp_path / "c" / SUPERSEDED).iterdir())) == 3  # every earlier attempt is kept
    # The next start tries what failed again; --retry-failed the same, and nothing that was never made.
    more = Plan("c", (*plan.specs, spec_of("new")), plan.options)
    assert [spec.model.id for spec in pending(more, tmp_path)] == ["dead", "crash", "new"]
    assert [spec.model.id for spec in pending(more, tmp_path, only_failed=True)] == ["dead", "crash"]
    manifest = read_manifest(tmp_path / "c")
    assert manifest is not None
    assert {run_id: kept.status for run_id, kept in manifest.kept.items()} == {
        bad.run_id: "complete",
        dead.run_id: "failed",
        crash.run_id: "failed",
    }


def test_half_of_a_batch_that_does_not_fit_is_measured_once_where_the_config_allows_it(tmp_path: Path) -> None:
    large, huge = spec_of("m", 8), spec_of("n", 64)
    half, too_large = spec_of("m", 4), spec_of("n", 32)
    no_room = {large.run_id, huge.run_id, too_large.run_id}
    executor = Scripted(lambda spec, attempt: failure("out_of_memory") if spec.run_id in no_room else None)
    refused = run_campaign(Plan("c", (large,), options()), tmp_path, executor, Silent())
    assert [record.run_id for record in refused.failed] == [large.run_id]

    plan = Plan("c", (large, huge), options(halve_batch=True))
    result = run_campaign(plan, tmp_path, executor, Silent())
    assert executor.calls == [large.run_id, large.run_id, half.run_id, huge.run_id, too_large.run_id]
    assert [record.run_id for record in result.complete] == [half.run_id]
    assert [record.run_id for record in result.failed] == [too_large.run_id]  # halved once, not until it fits
    stored = {run_id: read_record(tmp_path / "c" / run_id / RECORD) for run_id in (large.run_id, half.run_id)}
    assert stored[half.run_id].spec.batch_size == 4  # a result of its own: never under the name of a batch of 8
    assert stored[half.run_id].scheduled is not None
    assert stored[half.run_id].scheduled.halved_from == large.run_id
    assert stored[large.run_id].status == "failed"
    assert stored[large.run_id].scheduled is not None
    assert stored[large.run_id].scheduled.halved_as == half.run_id
    assert pending(plan, tmp_path) == [huge]  # the half stands for the whole
    assert pending(Plan("c", (large,), options()), tmp_path) == [large]  # unless halves are no longer allowed


def test_a_half_that_the_plan_has_anyway_stands_for_the_whole_only_once_it_is_complete(tmp_path: Path) -> None:
    whole, half, quarter = spec_of("m", 8), spec_of("m", 4), spec_of("m", 2)
    no_room = {whole.run_id, half.run_id}
    executor = Scripted(lambda spec, attempt: failure("out_of_memory") if spec.run_id in no_room else None)
    plan = Plan("c", (whole, half), options(halve_batch=True))
    for start in (1, 2):  # the half fails too, and its own half is complete: that is no half of the whole
        result = run_campaign(plan, tmp_path, executor, Silent())
        assert [record.run_id for record in result.failed] == [whole.run_id], start
        assert pending(plan, tmp_path) == [whole]
    assert executor.calls == [whole.run_id, half.run_id, quarter.run_id, whole.run_id]

    # Where nothing fits, all three count; where only what failed is made again, a half never made is no result.
    no_room.add(quarter.run_id)
    assert len(run_campaign(plan, tmp_path / "all", executor, Silent()).failed) == 2  # and the half, left to its own
    run_campaign(Plan("c", (whole,), options()), tmp_path / "never", executor, Silent())
    heard = Heard()
    result = run_campaign(plan, tmp_path / "never", executor, heard, only_failed=True)
    assert [record.run_id for record in result.failed] == [whole.run_id]
    assert heard.finished == [(whole.run_id, False)]

    # Once the half fits, it stands for the whole, made before it or after.
    no_room -= {half.run_id, quarter.run_id}
    result = run_campaign(plan, tmp_path / "fits", executor, heard)
    assert heard.finished[1:] == [(whole.run_id, True), (half.run_id, False)]
    assert (len(result.complete), result.failed, len(result.overtaken)) == (1, [], 1)
    assert pending(plan, tmp_path / "fits") == []


class Heard(Silent):
    """Keeps how each run ended, and whether something stands for it."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: list[tuple[str, bool]] = []

    def run_finished(self, record: RunRecord, again: bool) -> None:
        self.finished.append((record.run_id, again))


def test_runs_on_different_gpus_go_together_after_all_have_loaded_and_never_share_one(tmp_path: Path) -> None:
    first, second = ([spec_of(f"{gpu}{index}", gpu=gpu) for index in range(3)] for gpu in (0, 1))
    plan = Plan("c", (*first, *second, spec_of("last", gpu=1)), options())
    loaded = threading.Barrier(2)

    def meet(spec, report) -> None:
        if spec.model.id != "last":
            loaded.wait(60)  # fails unless two run at once
        (scratch,) = (tmp_path / "c").glob(f".scratch-{spec.run_id}-*")
        assert (scratch / HOLD).exists() == (spec.model.id != "last")
        report(Progress(HELD))
        while (scratch / HOLD).exists():
            threading.Event().wait(0.001)

    executor = Scripted(meet=meet)
    lanes = gpu_lanes({spec.sources: (f"GPU-{spec.sources.gpus[0]}",) for spec in plan.specs})
    assert lanes.at_once == 2
    result = run_campaign(plan, tmp_path, executor, Silent(), lanes)
    assert len(result.complete) == 7
    gpus = {spec.run_id: spec.sources.gpus[0] for spec in plan.specs}
    pairs = [pair for pair in executor.together if len(pair) == 2]
    assert pairs
    assert all({gpus[run_id] for run_id in pair} == {0, 1} for pair in pairs)
    assert max(map(len, executor.together)) == 2
    by_id = {record.run_id: record for record in result.complete}
    assert {len(record.scheduled.beside) for record in by_id.values()} == {0, 1}
    pair = next(record for record in by_id.values() if record.scheduled.beside)
    (caveat,) = _of_company(pair.model_copy(update={"origin": "measured"}), pair.scheduled)
    assert (caveat.code, pair.scheduled.beside[0] in caveat.message) == ("node-shared", True)


def test_what_would_disturb_a_neighbour_is_not_run_beside_it() -> None:
    on_cpu = spec_of().model_copy(update={"engine": "transformers", "device": "cpu"})
    with pytest.raises(UserInputError, match="--parallel is for models on GPUs"):
        refuse_parallel([spec_of(), on_cpu])
    with pytest.raises(UserInputError, match="study-2023 counts every GPU"):
        refuse_parallel([spec_of().model_copy(update={"accounting": "study-2023"})])


def test_an_error_of_the_store_in_one_lane_stops_the_others_and_is_passed_on(tmp_path: Path) -> None:
    class Broken(Scripted):
        def close(self) -> None:
            stopped.set()

        def run(self, spec, campaign, scratch, report):
            if spec.model.id == "ill":
                raise UserInputError("No.")
            assert stopped.wait(60)
            return super().run(spec, campaign, scratch, report)

    stopped = threading.Event()
    plan = Plan("c", (spec_of("ill", gpu=0), spec_of("well", gpu=1)), options())
    lanes = gpu_lanes({spec.sources: (str(spec.sources.gpus[0]),) for spec in plan.specs})
    with pytest.raises(UserInputError, match=r"No\."):
        run_campaign(plan, tmp_path, Broken(), Silent(), lanes)
    assert pending(plan, tmp_path) == [plan.specs[0]]  # what was complete all the same is kept


def test_a_scratch_folder_with_another_runs_record_is_not_kept_under_that_name(tmp_path: Path) -> None:
    spec = spec_of("m")
    stranger = record_of(run_id="stranger", campaign="c")
    write_run(tmp_path / "c" / ".scratch-planted-999999999-1", stranger, None)
    write_run(tmp_path / "c" / ".scratch-own-999999999-1", stranger.model_copy(update={"run_id": "own"}), None)
    result = run_campaign(Plan("c", (spec,)), tmp_path, Scripted(lambda spec, attempt: None), Silent())
    assert [record.run_id for record in result.recovered] == ["own"]
    kept = sorted(path.name for path in (tmp_path / "c").iterdir() if not path.name.startswith(".lock"))
    assert kept == sorted([spec.run_id, "manifest.jsonl", "own"])
