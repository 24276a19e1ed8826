"""What is read is not trusted: no foreign code, no file but the named one, no bombs, no secrets in what is kept."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from codecarbon_files import RUN_COLUMNS, row, write
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from report_records import record_of

from harness import redaction
from harness.errors import HarnessError, StoreError, UserInputError
from harness.importers.codecarbon import read_codecarbon
from harness.importers.codecarbon_table import find_files
from harness.reading import read_limited
from harness.records import Failure
from harness.redaction import holds_secret, redact_file, redacted
from harness.run import yaml_lines
from harness.run.config import load_plan
from harness.run.executors import clear_scratch
from harness.run.worker import WorkerTask
from harness.run.yaml_lines import read_yaml
from harness.serving import ServerOptions
from harness.specs import ModelSpec, RunSpec
from harness.store import duck
from harness.store.files import read_record
from harness.tasks.pictures import decoded, drawn

TOKEN = "hf_" + "a1B2" * 8
RUN = "campaign: x\nruns:\n- task: text-generation\n  model: {id: tiny-gpt2, weights: random}\n  sources: simulated\n"


def refused(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError) as caught:
        load_plan(path)
    return caught.value.message.removeprefix(f"{path}")


def test_code_from_a_models_repository_cannot_be_asked_for(tmp_path: Path) -> None:
    told = refused(tmp_path, RUN.replace("weights: random", "trust_remote_code: true"))
    assert told == ":4: model.trust_remote_code: the harness runs no code from a model's repository; " + (
        "use a model that its library knows, got True."
    )
    with pytest.raises(ValidationError):
        ModelSpec.model_validate_json('{"id": "a", "trust_remote_code": true}')
    assert ModelSpec.model_validate_json('{"id": "a", "trust_remote_code": false}') == ModelSpec(id="a")


def test_yaml_that_stands_for_more_than_it_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_lines, "MOST_NODES", 3000)
    letters = "abcdefghijklmnopqrstuvwxyz"
    lists = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise(letters))
    merges = "a: &a {k: v}\n" + "".join(f"{b}: &{b} {{<<: [*{a}, *{a}]}}\n" for a, b in itertools.pairwise(letters))
    assert refused(tmp_path, lists) == " stands for more than 3,000 values."
    assert refused(tmp_path, merges) == " stands for more than 3,000 values."
    assert refused(tmp_path, "a: &a [x]\n? *a\n: 1\n").endswith("a key is a list or a mapping.")
    assert refused(tmp_path, "campaign: 0x" + "f" * 9000) == ":1: a number of 9,002 characters."
    assert refused(tmp_path, 'campaign: "\\ud800"').endswith("half a Unicode character.")
    assert "python/object/apply:os.system" in refused(tmp_path, "!!python/object/apply:os.system ['touch here']")
    assert refused(tmp_path, "a: [" + "{a: 1}," * 20_000 + "]") == (
        ":1: keys, values and aliases up to here are more than 50,000."
    )
    assert refused(tmp_path, "a: &a x\nb:\n- [" + "*a," * 50_000 + "]") == (
        ":3: keys, values and aliases up to here are more than 50,000."
    )
    many = ", ".join(map(str, range(1, 1001)))
    assert refused(tmp_path, f"{RUN}  seed: [{many}]\n  batch_size: [{many}]\n") == (
        ":3: its lists (batch_size, seed) make 1,000,000 runs."
    )


@pytest.mark.parametrize(
    ("seed", "told"),
    [
        ("1:2:3", ":6: 1:2:3 is a number in base 60 to YAML."),
        ("1:30.5", ":6: 1:30.5 is a number in base 60 to YAML."),
        ("010", ":6: 010 is a number in base 8 to YAML."),
        ("9" * 50, f":6: seed: input should be less than 9223372036854775808, got {'9' * 50}."),
        (
            "-9223372036854775809",
            ":6: seed: input should be greater than or equal to -9223372036854775808, got -9223372036854775809.",
        ),
    ],
)
def test_a_number_that_means_another_one_and_a_seed_beyond_any_generator_are_refused(
    seed: str, told: str, tmp_path: Path
) -> None:
    assert refused(tmp_path, f"{RUN}  seed: {seed}\n") == told
    (tmp_path / "fine.yaml").write_text(f"{RUN}  seed: 9223372036854775807\n")
    assert load_plan(tmp_path / "fine.yaml").specs[0].seed == 2**63 - 1


def test_a_file_beyond_its_limit_and_a_device_are_refused_without_reading_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_limited(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than"):
        read_limited(tmp_path / "file", 4)
    with pytest.raises(OSError, match="it is a device"):
        read_limited(Path("/dev/zero"), 4)
    with pytest.raises(UserInputError, match=r"larger than 0\.5 MiB"):
        read_yaml(write_bytes(tmp_path / "big.yaml", b"#" * 524_289))
    half = b'{"spec": "\\ud800"}'
    with pytest.raises(StoreError, match="not a whole JSON document"):
        read_record(write_bytes(tmp_path / "record.json", half))
    elsewhere = record_of(run_id="plain").model_dump_json().replace('"plain"', '"../../elsewhere"')
    with pytest.raises(StoreError, match=r"run_id: .* must be a plain name"):
        read_record(write_bytes(tmp_path / "record.json", elsewhere.encode()))


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_duckdb_reads_the_named_file_and_reaches_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("a1", 1.0), ("a[1]", 2.0), ("b'; DROP TABLE x; --", 3.0), ("*", 4.0)):
        duck.write_parquet(tmp_path / f"{name}.parquet", {"v": duck.np.array([value])}, {})
        assert duck.read_parquet(tmp_path / f"{name}.parquet")["v"].tolist() == [value]
    strange = 'a"; SELECT 1; --'
    path = tmp_path / "strange.parquet"
    with duck.duckdb.connect(":memory:") as connection:
        connection.execute(f"""COPY (SELECT 'text' AS "{strange.replace('"', '""')}") TO '{path}' (FORMAT parquet)""")
    assert duck.read_column(path, strange) == ["text"]
    with duck._reaching([path]) as connection:
        for query in (
            f"SELECT * FROM read_parquet('{tmp_path}/a1.parquet')",
            "SELECT * FROM read_text('/etc/hostname')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "INSTALL httpfs",
            "SET enable_external_access=true",
        ):
            with pytest.raises(duck.duckdb.Error, match=r"disabled|locked"):
                connection.execute(query)
    monkeypatch.setattr(duck, "MOST_TEXT_CHARACTERS", 3)
    with pytest.raises(StoreError, match="more text than is read"):
        duck.read_column(path, strange)
    monkeypatch.setattr(duck, "MOST_ROWS", 0)
    with pytest.raises(StoreError, match="holds 1 rows, and no more than 0"):
        duck.read_parquet(tmp_path / "a1.parquet")


def test_a_folders_name_is_no_column_of_the_files_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "power_w=100" / "prompt=EVIL"
    folder.mkdir(parents=True)
    trace = folder / "trace.parquet"
    columns = {"source_index": [0.0, 0.0], "power_w": [1.0, 3.0], "t_s": [0.0, 1.0]}
    duck.write_parquet(trace, {name: duck.np.array(values) for name, values in columns.items()}, {})
    assert duck.read_parquet(trace)["power_w"].tolist() == [1.0, 3.0]
    assert duck.read_column_names(trace) == list(columns)
    assert duck.read_stretches([trace], 1) == [(trace, 0, 0, 2.0)]
    with duck.duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY (SELECT 'own' AS prompt, 'old' AS run) TO '{folder / 'p.parquet'}' (FORMAT parquet)")
    assert duck.read_column(folder / "p.parquet", "prompt") == ["own"]
    table = duck.Table({"prompt": "VARCHAR", "run": "VARCHAR"})
    table.load(folder / "p.parquet", {"run": "new"})
    assert table.ask("SELECT prompt, run FROM runs") == [("own", "new")]
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert duck.read_csv_lines([b"own"], {"prompt": "VARCHAR"})[0]["prompt"].tolist() == ["own"]


def test_a_link_out_of_an_imported_folder_is_not_followed(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.csv", RUN_COLUMNS, row())
    inside = write(tmp_path / "archive" / "a.csv", RUN_COLUMNS, row())
    (tmp_path / "archive" / "b.csv").symlink_to(inside)
    assert len(find_files([tmp_path / "archive"])) == 2
    (tmp_path / "archive" / "c.csv").symlink_to(outside)
    with pytest.raises(UserInputError, match="is a link that leads out of"):
        find_files([tmp_path / "archive"])
    for cells, told in (
        ({"pue": "inf"}, "pue is larger than"),
        ({"energy_consumed": 1e300}, "energy_consumed is larger"),
    ):
        problems = read_codecarbon([write(tmp_path / "x.csv", RUN_COLUMNS, row(**cells))]).problems
        assert any(problem.message.startswith(told) and problem.refused for problem in problems)


def test_a_picture_that_another_program_would_open_and_one_of_too_many_pixels_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(UserInputError, match="not a picture"):
        decoded(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "It")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 191)
    with pytest.raises(UserInputError, match="too many pixels"):
        decoded(drawn(1, (16, 12)), "It")


def test_secrets_are_taken_out_of_what_is_kept_and_refused_in_what_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "s3cret-value")
    monkeypatch.setenv("LLM_DOOR", "another-one-7")
    said = f"401 for https://me:pw1@host/x with Bearer abcdefgh12345678, s3cret-value and {TOKEN}"
    kept = Failure(kind="k", message=said, phase="load", stderr_tail=f"...{said}").model_dump_json()
    for secret in ("pw1", "abcdefgh", "s3cret", TOKEN[3:9]):
        assert secret not in kept
    assert kept.count("***") == 8
    assert refused(tmp_path, RUN.replace("tiny-gpt2", TOKEN)) == ":4: a text holds a key or a token."
    assert refused(tmp_path, RUN + "  text: {template: '{text} s3cret-value'}\n").endswith("holds a key or a token.")
    served = RUN.replace("sources", "engine: openai\n  sources") + (
        "  server: {command: [serve, '{port}', another-one-7], concurrency: 1, api_key_env: LLM_DOOR}\n"
    )
    assert "holds the key that LLM_DOOR holds" in refused(tmp_path, served)
    fine = ("vllm", "{port}", "--eos-token", "</s>", "--max-num-batched-tokens", "8192", "--tokenizer", "x")
    assert ServerOptions(command=fine, concurrency=1).command == fine


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "correcthorsebatterystaple"),
        ("HF_TOKEN_READ", "value-with-1-digit"),
        ("API_KEY_OPENAI", "value-with-1-digit"),
        ("GITHUB_PAT", "value-with-1-digit"),
        ("PGPASS", "nodigits"),
        ("MYSQL_PWD", "nodigits"),
        ("LLM_PASSPHRASE", "nodigits"),
        ("CLIENTSECRET", 'with "quotes" and \\'),
        ("SSL_KEY", "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhk1\n-----END KEY-----"),
    ],
)
def test_the_value_of_a_variable_with_a_secret_name_is_hidden(name: str, value: str) -> None:
    for said in (value, repr({name: value}), json.dumps(value), f"https://x/?q={quote(value)}"):
        kept = redacted(f"a {said} z", {name: value})
        assert "***" in kept
        assert kept[:2] + kept[-2:] == "a  z"
        assert not any(line in kept for line in (*value.splitlines(), value[:12]))


def test_a_variable_that_is_no_secret_hides_nothing() -> None:
    plain = {
        "PWD": "/home/me/work1",
        "TOKENIZERS_PARALLELISM": "false-123",
        "HF_TOKEN": "disabled",
        "PATH": "/usr/bin1",
    }
    plain |= {"GOOGLE_APPLICATION_CREDENTIALS": "/home/me/credentials", "BYPASS": "anything-1", "KEYBOARD": "azerty-12"}
    said = " ".join(plain.values())
    assert redacted(said, plain) == said


@pytest.mark.parametrize(
    "token",
    [
        "nvapi-a1B2c3D4e5F6g7H8",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890abcdefghijklmnopqrstuvw",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP",
        "gsk_a1B2c3D4e5F6g7H8i9",
        "r8_a1B2c3D4e5F6g7H8i9",
        "ghs_a1B2c3D4e5F6g7H8i9",
        "hf_a1B2c3D4e5F6g7H8i9",
    ],
)
def test_a_token_is_hidden_wherever_it_stands(token: str) -> None:
    assert redacted(f"a '{token}' z", {}) == "a '***' z"
    assert redacted("X-Api-Key: 0123456789abcdef, x", {}) == "X-Api-Key: ***, x"
    assert redacted("https://0123456789abcdef@host/?token=abcdefgh&a=b", {}) == "https://***@host/?token=***&a=b"
    assert redacted("ssh://git@host?page=2", {}) == "ssh://git@host?page=2"
    assert redacted("-eyJabcdefgh" * 3000, {}) == "-eyJabcdefgh" * 3000  # and soon


def test_a_token_that_yaml_spells_otherwise_is_refused(tmp_path: Path) -> None:
    escaped = '"\\x68f_' + "a1B2" * 8 + '"'
    assert refused(tmp_path, RUN.replace("tiny-gpt2", escaped)) == ":4: a text holds a key or a token."


def test_a_log_is_cleaned_piece_by_piece_or_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "PIECE_BYTES", 7)  # every key is cut in two by it
    log = write_bytes(tmp_path / "server.log", f"one {TOKEN}\r\xff two s3cret-value\nthree odd-key".encode("latin-1"))
    redact_file(log, {"SOME_API_KEY": "s3cret-value"}, ("odd-key",))
    assert log.read_bytes() == b"one ***\r\xff two ***\nthree ***"
    redact_file(tmp_path / "missing.log", {})
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
    (tmp_path / "server.log.part").mkdir()
    redact_file(log, {})
    assert log.read_text() == "[removed by the harness: it could not be searched for keys: Is a directory]\n"


@pytest.mark.parametrize("key", ["odd-value", None])
def test_what_a_killed_worker_left_is_cleaned_of_the_key_too(
    key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker takes it out when it stops the server; a SIGKILL leaves that to whoever keeps the run."""
    monkeypatch.delenv("MY_LLM", raising=False)
    server = ServerOptions(command=("serve", "{port}"), concurrency=1, api_key_env="MY_LLM")
    spec = RunSpec(task="text-generation", model=ModelSpec(id="m"), engine="openai", server=server)
    task = WorkerTask(spec=spec, campaign="c", scratch=str(tmp_path))
    (tmp_path / "task.json").write_text(task.model_dump_json())
    (tmp_path / "server.log").write_text(f"started with odd-value and {TOKEN}\n")
    if key is not None:
        monkeypatch.setenv("MY_LLM", key)
    clear_scratch(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
    assert (tmp_path / "server.log").read_text() == (
        "started with *** and ***\n"
        if key
        else "[removed by the harness: it may hold the key of MY_LLM, which is not set any more]\n"
    )


@given(st.text(max_size=60))
def test_taking_secrets_out_twice_changes_no_more(text: str) -> None:
    once = redacted(text, {"HF_TOKEN": "0123456789"})
    assert redacted(once, {"HF_TOKEN": "0123456789"}) == once
    assert not holds_secret("simulated tiny-gpt2 http://127.0.0.1:8000/v1 sk-learn hf_hub")
