"""Everything that reads what others made, with valid examples of it. No input may end in another error than ours."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import codecarbon_files
import yaml
from fakes import trace_of
from fuzz.mutations import as_json, as_yaml, bytes_of, tables_of, trees_of
from hypothesis import strategies as st
from report_records import record_of

from harness.campaign import CampaignOptions
from harness.engines.stream import AttemptFailed, read_answer
from harness.errors import HarnessError
from harness.footprint.hourly import read_hourly
from harness.imported import ImportedRecord
from harness.importers.codecarbon import read_codecarbon, records, require_rows
from harness.measure.served import Attempt
from harness.power.profiles import read_profile
from harness.power.recording import read_recording, read_times, read_truth
from harness.records import RunRecord
from harness.report.quality import read_quality
from harness.run.config import load_plan
from harness.run.journal import unfinished
from harness.specs import PromptSpec, RunSpec
from harness.store.duck import read_stretches
from harness.store.files import JOURNAL, TRACE, read_record, read_trace, write_run
from harness.store.files import RECORD as RECORD_FILE
from harness.store.imports import find_imports
from harness.store.manifest import MANIFEST, Aside, Kept, append, read_manifest, started, utc_now
from harness.store.migrate import migrate
from harness.store.validate import check_campaign
from harness.tasks.pictures import decoded, drawn, resized
from harness.tasks.prompts import load_requests

SERVED = Path(__file__).parents[1] / "store" / "version_1" / "served"


@dataclass(frozen=True)
class Target:
    """A reader. `check` has an empty folder for its files; `quick`: takes about a millisecond."""

    name: str
    inputs: st.SearchStrategy[bytes]
    check: Callable[[Path, bytes], None]
    quick: bool = True

    def run(self, content: bytes) -> bool:
        """Whether the input was read; False: refused in a sentence.

        Raises:
            Exception: Anything but a HarnessError, a warning of numpy's included: a bug of ours.
        """
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                self.check(Path(folder), content)
            except (HarnessError, AttemptFailed) as error:  # the latter: a word for the keeper, which counts them
                assert str(error)  # noqa: PT017 - refusing is one of two allowed outcomes
                return False
        return True


def _written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# --- configs and profiles -----------------------------------------------------------------------------

PROFILE = {"kernel": "boxcar", "period_s": 0.1, "window_s": 0.025, "gain": 1.02, "offset_w": -0.5, "note": "by hand"}
CONFIGS = [
    {
        "campaign": "fuzz",
        "defaults": {
            "task": "text-generation",
            "text": {"new_tokens": [8, 16], "template": "Say: {text}", "chat": True},
            "sources": {"kind": "simulated", "sensor_profile": "profile.yaml", "node": {"gpu": "A100-SXM4-80GB"}},
            "measure": {"window_s": 0.5, "max_repeats": 5, "cross_check": ["codecarbon"]},
        },
        "runs": [
            {"model": {"id": "tiny-gpt2", "weights": "random"}, "batch_size": [1, 8], "prompts": "prompts.csv"},
            {"model": "org/name", "dtype": "bfloat16", "seed": 3, "timeout_s": 60},
        ],
    },
    {
        "runs": [
            {
                "task": "text-generation",
                "model": {"id": "m", "revision": "abc", "allow_pickle": True},
                "engine": "openai",
                "server": {
                    "command": ["serve", "{model}", "--port", "{port}"],
                    "concurrency": [1, 4],
                    "extra_body": {"ignore_eos": True, "deep": {"a": [1, {"b": None}]}},
                    "api_key_env": "FUZZ_KEY",
                },
            },
            {
                "task": "text-to-image",
                "model": {"id": "tiny-sd", "weights": "random"},
                "image": {"steps": 2, "height": 64, "width": 64},
                "sources": {"kind": "simulated", "node": {"faults": [{"kind": "throttle", "at_s": 1, "value": 0.5}]}},
            },
        ]
    },
]


def _config(folder: Path, content: bytes) -> None:
    _written(folder, "prompts.csv", b"prompt\nHello there\n")
    _written(folder, "profile.yaml", yaml.safe_dump(PROFILE).encode())
    plan = load_plan(_written(folder, "config.yaml", content))
    assert "/" not in plan.campaign
    assert plan.campaign not in (".", "..")
    for spec in plan.specs:
        assert RunSpec.model_validate_json(spec.model_dump_json()).run_id == spec.run_id  # as a worker gets it
        assert "/" not in spec.run_id
        assert not spec.model.trust_remote_code


def _profile(folder: Path, content: bytes) -> None:
    profile = read_profile(_written(folder, "profile.yaml", content))
    assert profile.memory_s > 0


# --- what the harness stores --------------------------------------------------------------------------

RUN = record_of()
RECORD = RUN.model_dump(mode="json")


def _trace_seed() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder), RUN, trace_of(((0.0, 0.02, 0.04, 0.06), (100.0, 250.0, 240.0, 90.0))))
        return (Path(folder) / TRACE).read_bytes()


OLD = json.loads(next(SERVED.glob("*/record.json")).read_text(encoding="utf-8"))  # of schema version 1
JOURNAL_LINES = f"{json.dumps(RECORD)}\n{json.dumps(RECORD['measurements'][0])}\n".encode()


def _manifest_lines() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        append(Path(folder), started(CampaignOptions(), 1, ["a", "b"]))
        append(Path(folder), Kept(at_utc=utc_now(), run_id="a", status="complete", files={"record.json": "0" * 64}))
        append(Path(folder), Aside(at_utc=utc_now(), run_id="a"))
        return (Path(folder) / MANIFEST).read_bytes()


MANIFEST_LINES = _manifest_lines()


def _record(folder: Path, content: bytes) -> None:
    record = read_record(_written(folder, "record.json", content))
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert "/" not in record.run_id


def _manifest(folder: Path, content: bytes) -> None:
    _written(folder, MANIFEST, content)
    manifest = read_manifest(folder)
    assert manifest is not None
    check_campaign(folder)


def _journal(folder: Path, content: bytes) -> None:
    _written(folder, JOURNAL, content)
    found = unfinished(folder)
    assert found is None or "/" not in found[0].run_id


def _old(name: str) -> Callable[[Path, bytes], None]:
    """What an older harness left under this name in a campaign."""

    def check(folder: Path, content: bytes) -> None:
        path = folder / "c" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        (found,) = migrate(folder / "c", True)
        for error in found.refused:
            raise error
        if path.name == RECORD_FILE:
            read_record(path)
        elif path.name == JOURNAL:
            unfinished(path.parent)
        else:
            find_imports([folder])

    return check


def _imported(folder: Path, content: bytes) -> None:
    for record in find_imports([_written(folder, "imported-0.jsonl", content)]):
        assert ImportedRecord.model_validate_json(record.model_dump_json()) == record


def _trace(folder: Path, content: bytes) -> None:
    path = _written(folder, "trace.parquet", content)
    trace = read_trace(folder, RUN)
    assert trace is not None
    assert trace.rows.shape[1] > 1
    read_stretches([path], 4)


# --- tables of others ---------------------------------------------------------------------------------


def _codecarbon_seeds() -> list[str]:
    rows = [codecarbon_files.row(), codecarbon_files.row(run_id="run-2", pue=1.2, codecarbon_version="3.3.2")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        columns = (codecarbon_files.RUN_COLUMNS, codecarbon_files.V3_COLUMNS)
        seeds = [codecarbon_files.write(path, each, *rows).read_text(encoding="utf-8") for each in columns]
        phases = codecarbon_files.phases("run-1", "gpt2")
        return [
            *seeds,
            codecarbon_files.write(path, codecarbon_files.TASK_COLUMNS, *phases).read_text(encoding="utf-8"),
        ]


CODECARBON = _codecarbon_seeds()
IMPORTED = ImportedRecord.model_validate(
    {
        **{"run_id": "r", "campaign": "c", "origin": "codecarbon", "tool_version": "2.3.1", "source_file": "a.csv"},
        **{"source_sha256": "0" * 64, "project_name": "gpt2", "boundary": "node", "pue": 1.0, "region": "oregon"},
        **{"country_iso_code": "USA", "caveats": [{"code": "pue", "message": "of 1"}]},
        "parts": [{"kind": "gpu", "device_name": "A100", "device_count": 8, "provenance": "measured", "note": "n"}],
        "phases": [
            {
                **{"name": "load", "line": 2, "finished_at_local": "2026-01-01T00:00:00", "duration_s": 1.5},
                **{"gpu_energy_j": 3.0, "cpu_energy_j": None, "dram_energy_j": 1.0, "node_energy_j": 4.0},
                "carbon_g_co2e": 0.1,
            }
        ],
    }
).model_dump(mode="json")
RECORDING = "time_s,watts,power_w\n" + "".join(f"{i / 50},{100 + i},{99.5 + i}\n" for i in range(20))
HOURLY = "timestamp,g/kWh\n" + "".join(f"2026-03-01T{hour:02}:00+01:00,{300 + hour}\n" for hour in range(8))
QUALITY = "task,model,metric,value\ntext-generation,a/b,accuracy,0.5\ntext-to-image,c,fid,12\n"


def _codecarbon(folder: Path, content: bytes) -> None:
    reading = require_rows(read_codecarbon([_written(folder, "emissions.csv", content)]))
    for record in records(reading, "fuzz"):
        assert ImportedRecord.model_validate_json(record.model_dump_json()) == record
        assert "/" not in record.run_id


def _recording(folder: Path, content: bytes) -> None:
    path = _written(folder, "recording.csv", content)
    t_s, watts = read_recording(path, "power_w")
    assert len(t_s) == len(watts) >= 2
    read_truth(path)
    read_times(path)


def _hourly(folder: Path, content: bytes) -> None:
    series = read_hourly(_written(folder, "grid.csv", content))
    start = series.starts[0]
    assert series.during(start, start + series.step).value >= 0
    series.during(datetime.fromisoformat("2026-03-01T00:30+00:00"), datetime.fromisoformat("2026-03-01T02:30+00:00"))


def _quality(folder: Path, content: bytes) -> None:
    read_quality(_written(folder, "scores.csv", content))


# --- what models are given, and what servers answer ---------------------------------------------------

PROMPTS_CSV = 'prompt,other\n"Hello, there",1\nWhat is a joule?,2\n'
PROMPTS_JSON = [{"prompt": "Hello", "n": 1}, {"prompt": "What is a joule?", "n": [1, {"a": None}]}]
EVENTS = (
    b'data: {"choices":[{"text":"a","delta":{"content":"b"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"delta":{"reasoning":"c"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}\n\n'
    b'data: {"error":null}\n\ndata: [DONE]\n\n'
)


def _prompts(name: str) -> Callable[[Path, bytes], None]:
    def check(folder: Path, content: bytes) -> None:
        path = str(_written(folder, name, content))
        requests = load_requests(PromptSpec(kind="file", path=path, count=5, column=None), "text-generation")
        for request in requests:
            assert request.text.encode("utf-8")

    return check


def _prompts_seed() -> bytes:
    import duckdb

    with tempfile.TemporaryDirectory() as folder, duckdb.connect(":memory:") as connection:
        path = Path(folder) / "a.parquet"
        connection.execute(f"COPY (SELECT 'What is a joule?' AS prompt, 1 AS n) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


def _picture(folder: Path, content: bytes) -> None:
    assert decoded(content, "It").mode == "RGB"
    resized(content, (8, 8), "It")


def _answer(folder: Path, content: bytes) -> None:
    attempt = Attempt(0.0, 0.0)
    read_answer(io.BytesIO(content), attempt, lambda: 1.0, lambda: None)
    assert all(count is None or count >= 0 for count in (attempt.input_tokens, attempt.output_tokens))


def _pictures() -> list[bytes]:
    from PIL import Image

    plain = Image.open(io.BytesIO(drawn(1, (16, 12))))
    seeds = [drawn(1, (16, 12))]
    for kind in ("PNG", "WEBP", "BMP", "GIF", "TIFF"):
        buffer = io.BytesIO()
        plain.save(buffer, kind)
        seeds.append(buffer.getvalue())
    return seeds


def _lines(tree: Any) -> str:
    return "\n".join(json.dumps(each) for each in (tree if isinstance(tree, list) else [tree]))


TARGETS = (
    Target("config", trees_of(as_yaml, *CONFIGS) | bytes_of(*(as_yaml(each).encode() for each in CONFIGS)), _config),
    Target("profile", trees_of(as_yaml, PROFILE) | bytes_of(as_yaml(PROFILE).encode()), _profile),
    Target("record", trees_of(as_json, RECORD) | bytes_of(json.dumps(RECORD).encode()), _record),
    Target("manifest", bytes_of(MANIFEST_LINES), _manifest),
    Target("journal", trees_of(_lines, [RECORD, RECORD["measurements"][0]]) | bytes_of(JOURNAL_LINES), _journal),
    Target("old-record", trees_of(as_json, OLD) | bytes_of(json.dumps(OLD).encode()), _old(f"r/{RECORD_FILE}")),
    Target("old-journal", trees_of(_lines, [OLD, OLD["measurements"][0]]), _old(f".scratch-x-999999999-1/{JOURNAL}")),
    Target("old-import", trees_of(as_json, IMPORTED | {"schema_version": 1}), _old("imported-x.jsonl")),
    Target("imported", trees_of(as_json, IMPORTED) | bytes_of(json.dumps(IMPORTED).encode()), _imported),
    Target("codecarbon", tables_of(*CODECARBON) | bytes_of(*(c.encode() for c in CODECARBON)), _codecarbon, False),
    Target("recording", tables_of(RECORDING) | bytes_of(RECORDING.encode()), _recording),
    Target("hourly", tables_of(HOURLY) | bytes_of(HOURLY.encode()), _hourly),
    Target("quality", tables_of(QUALITY) | bytes_of(QUALITY.encode()), _quality),
    Target("prompts-csv", tables_of(PROMPTS_CSV) | bytes_of(PROMPTS_CSV.encode()), _prompts("p.csv")),
    Target(
        "prompts-jsonl", trees_of(_lines, PROMPTS_JSON) | bytes_of(_lines(PROMPTS_JSON).encode()), _prompts("p.jsonl")
    ),
    Target("prompts-txt", bytes_of(b"Hello\nWhat is a joule?\n"), _prompts("p.txt")),
    Target("prompts-parquet", bytes_of(_prompts_seed()), _prompts("p.parquet"), False),
    Target("trace", bytes_of(_trace_seed()), _trace, False),
    Target("picture", bytes_of(*_pictures()), _picture),
    Target("answer", bytes_of(EVENTS), _answer),
)
