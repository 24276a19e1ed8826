"""The whole path with `transformers serve` and a tiny model on the CPU: a real server, started and stopped here."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from openai_server import Behaviour, fake_server

from harness.records import RunRecord
from harness.run.executors import SubprocessExecutor
from harness.run.worker import execute
from harness.specs import RunSpec
from harness.store.files import read_trace

SERVE = ["transformers", "serve", "{model}", "--device", "cpu", "--host", "127.0.0.1", "--port", "{port}"]
NEW_TOKENS = 6


def spec_of(server: dict[str, object], **changes: object) -> RunSpec:
    content: dict[str, object] = {
        "task": "text-generation",
        "engine": "openai",
        "model": {"id": "tiny-llama", "weights": "random"},
        "text": {"new_tokens": NEW_TOKENS},
        "prompts": {"max_words": 8},
        "device": "cpu",
        "dtype": "float32",
        "sources": {"kind": "simulated", "node": {"counter": "truth"}},
        "server": server,
        "measure": {
            "window_s": 1.0,
            "null_window_s": 0.3,
            "idle_s": 0.3,
            "settle_s": 0.2,
            "warm_up_block_s": 0.3,
            "warm_up_max_s": 0.5,
            "min_repeats": 2,
            "max_repeats": 2,
            "max_temperature_change_c": 15.0,
        },
    }
    return RunSpec.model_validate(content | changes)


def codes(record: RunRecord) -> set[str]:
    return {caveat.code for caveat in record.caveats}


@pytest.mark.long
def test_transformers_serve_is_started_measured_and_stopped(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    spec = spec_of({"command": SERVE, "concurrency": 2, "api": "completions"})
    with closing(SubprocessExecutor()) as executor:
        record = executor.run(spec, "c", tmp_path, lambda progress: None)
    assert record.failure is None, record.failure
    assert record.simulated
    assert record.server is not None
    assert record.server.started

    summary, served = record.summary, record.served
    assert summary is not None
    assert served is not None
    assert summary.true_gpu_energy_j is not None
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high
    # Every answer is as long as asked for, by its usage; a request in part counts by its tokens.
    assert (served.fewer_tokens, served.more_tokens, served.without_usage) == (0, 0, 0)
    assert served.output_tokens == pytest.approx(NEW_TOKENS * served.requests_in_part)
    assert served.all_failed == {}
    assert served.all_attempts is not None
    assert served.all_attempts > served.requests_answered
    assert 0 < served.mean_in_flight <= 2.01
    for window in record.measurements:
        assert window.served is not None
        assert window.served.ramp_up is not None
        assert window.served.drain is not None
        assert window.served.ramp_up.energy_j is not None
        assert window.served.drain.energy_j is not None
        assert window.busy_s == pytest.approx(window.end_s - window.start_s)

    trace = read_trace(tmp_path, record)
    assert trace is not None
    assert "POST /v1/completions" in (tmp_path / "server.log").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json", "server.log", "trace.parquet"]
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert not [pid for pid in after - before if "serve" in " ".join(psutil.Process(pid).cmdline())]


def test_chat_and_an_open_loop_on_a_running_server_with_failures_kept_apart(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TEST_SERVER_KEY", "s3cret-key")
    usage = {"prompt_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 2}}
    good = Behaviour(tokens=NEW_TOKENS, reasoning=2, usage=usage, token_s=0.01)
    script = (*[good] * 15, Behaviour(status=429), *[good] * 5, Behaviour(closed_after=2, token_s=0.01), good)
    with fake_server([*script, *[Behaviour(status=500) if number % 9 == 0 else good for number in range(400)]]) as fake:
        options = {"base_url": fake.base_url, "api": "chat", "request_rate_hz": 20.0, "retry_wait_s": 0.01}
        spec = spec_of(options | {"api_key_env": "TEST_SERVER_KEY"}, model={"id": "some/model"})
        record = execute(spec, "c", tmp_path, lambda progress: None)
        body, headers = fake.asked[0], fake.headers[0]
    assert record.failure is None, record.failure
    assert body["messages"][0]["role"] == "user"
    assert body["stream_options"] == {"include_usage": True}
    assert (body["model"], body["max_tokens"]) == ("some/model", NEW_TOKENS)
    assert headers["Authorization"] == "Bearer s3cret-key"

    served, summary = record.served, record.summary
    assert served is not None
    assert summary is not None
    assert served.loop == "open"
    assert served.all_failed is not None
    assert {"http-429", "closed-midway", "http-500"} <= set(served.all_failed)
    assert served.reasoning_tokens == pytest.approx(served.requests_in_part * 2)
    assert summary.energy_j_per_answer_token is not None
    assert summary.energy_j_per_output_token is not None
    ratio = summary.energy_j_per_answer_token.value / summary.energy_j_per_output_token.value
    assert ratio == pytest.approx(NEW_TOKENS / (NEW_TOKENS - 2), rel=0.02)
    assert {"requests-failed", "gpus-by-word"} <= codes(record)
    assert record.attempts is None  # of a complete run they are in what was served
    assert "s3cret" not in (tmp_path / "record.json").read_text()


@pytest.mark.parametrize(
    ("server", "kind", "told"),
    [
        ({"command": ["{python}", "-c", "print('no such flag')", "{port}"]}, "server_unavailable", "no such flag"),
        ({"base_url": "http://192.0.2.7:8000"}, "invalid_input", "runs on another machine"),
        ({"command": SERVE, "api_key_env": "NOT_SET_ANYWHERE"}, "invalid_input", "NOT_SET_ANYWHERE"),
    ],
)
def test_what_goes_wrong_before_any_window_is_a_named_failure(
    server: dict[str, object], kind: str, told: str, tmp_path: Path
) -> None:
    spec = spec_of(server | {"concurrency": 1}, model={"id": "some/model"})
    record = execute(spec, "c", tmp_path, lambda progress: None)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.phase) == (kind, "load model")
    assert told in record.failure.message
    assert json.loads((tmp_path / "record.json").read_text())["status"] == "failed"


def test_a_server_that_answers_only_500_is_a_named_failure(tmp_path: Path) -> None:
    with fake_server([Behaviour(status=500)]) as fake:
        server = {"base_url": fake.base_url, "concurrency": 1, "ramp_timeout_s": 0.5, "retry_wait_s": 0.05}
        record = execute(spec_of(server, model={"id": "some/model"}), "c", tmp_path, lambda progress: None)
    assert record.failure is not None
    assert record.failure.kind == "measurement_invalid"
    assert "x http-500" in record.failure.message
    assert record.attempts is not None  # what failed is counted where nothing could be measured
    assert record.attempts.sent >= 1
    assert record.attempts.failed == {"http-500": record.attempts.sent}
    load = record.attempts.last_load
    assert load is not None
    assert load.energy_j is not None
    assert load.uncertainty_j is not None
    assert load.true_energy_j is not None
    assert load.energy_j == pytest.approx(load.true_energy_j, abs=2 * load.uncertainty_j)
    assert record.served is None
