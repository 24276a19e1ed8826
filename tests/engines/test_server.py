"""Starting and stopping a server, and what is said when it does not start, ends, or is elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from openai_server import fake_server

from harness.engines.server import Server, ServerUnavailable, free_port, refuse_elsewhere
from harness.errors import UserInputError
from harness.serving import ServerOptions

# Answers /health with 200, has a child, and says both their ids.
GOOD = """
import http.server, os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(f"pids {os.getpid()} {child.pid}", os.environ.get("SOME_KEY"), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2])); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_): pass
http.server.HTTPServer((sys.argv[3], int(sys.argv[1])), Handler).serve_forever()
"""


def server_of(
    tmp_path: Path, code: str = GOOD, status: int = 200, host: str = "127.0.0.1", **changes: object
) -> Server:
    key = changes.pop("key", None)
    words = ["{python}", "-c", textwrap.dedent(code), "{port}", str(status), host]
    content = {"command": words, "concurrency": 1, "ready_timeout_s": 60.0} | changes
    options = ServerOptions.model_validate(content)
    environment = dict(os.environ) | ({"SOME_KEY": str(key)} if key else {})
    return Server(options, "model", tmp_path / "server.log", environment, key if isinstance(key, str) else None)


def pids_in(log: Path) -> list[int]:
    return [int(word) for word in log.read_text().split()[1:3]]


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_server_is_started_and_stopped_with_all_it_started(tmp_path: Path) -> None:
    server = server_of(tmp_path)
    try:
        server.start()
        started = pids_in(tmp_path / "server.log")
        assert set(started) <= server.pids()
        assert set(started) <= {child.pid for child in psutil.Process().children(recursive=True)}  # own, on a GPU
        assert all(lives(pid) for pid in started)
        assert server.info().started
        assert server.caveats() == ()
        assert server.gone() is None
    finally:
        server.stop()
    assert not any(lives(pid) for pid in started)
    server.stop()  # again is harmless


def test_a_server_ends_with_the_guard_when_the_harness_is_killed(tmp_path: Path) -> None:
    server = server_of(tmp_path)
    try:
        server.start()
        started = pids_in(tmp_path / "server.log")
        guard = server._guard
        assert guard is not None
        assert guard.stdin is not None
        os.kill(guard.pid, signal.SIGTERM)  # what a terminal or a scheduler sends to all: it stays to clean up
        guard.stdin.close()  # what the kernel does when this process is killed
        guard.wait(30)
        assert not any(lives(pid) for pid in started)
    finally:
        server.stop()


def test_a_guard_that_is_killed_takes_the_server_and_its_children_with_it(tmp_path: Path) -> None:
    server = server_of(tmp_path)
    try:
        server.start()
        started = pids_in(tmp_path / "server.log")
        assert set(started) <= server.pids()
        assert server._guard is not None
        server._guard.kill()
        server._guard.wait(30)
        gone = server.gone()
        assert gone is not None
        assert "The process that guards the server was killed by SIGKILL." in gone.message
        assert "exit code" not in gone.message
    finally:
        server.stop()
    assert not any(lives(pid) for pid in started)


def test_a_server_that_ends_is_said_with_the_end_of_its_output(tmp_path: Path) -> None:
    server = server_of(tmp_path, "print('no memory left', flush=True); raise SystemExit(3)")
    try:
        with pytest.raises(ServerUnavailable, match=r"exit code 3.*\n.*no memory left"):
            server.start()
    finally:
        server.stop()


def test_a_server_that_never_becomes_healthy_is_said_with_what_it_answered(tmp_path: Path) -> None:
    server = server_of(tmp_path, status=503, ready_timeout_s=3.0)
    try:
        with pytest.raises(ServerUnavailable, match=r"not healthy within 3 s: at /health"):
            server.start()
        started = pids_in(tmp_path / "server.log")
    finally:
        server.stop()
    assert not any(lives(pid) for pid in started)


def test_a_running_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with fake_server() as fake:
        url = fake.base_url
    options = ServerOptions(base_url=url, concurrency=1, ready_timeout_s=0.3)
    with pytest.raises(ServerUnavailable, match="nothing answered"):
        Server(options, "m", tmp_path / "server.log", {}, None).start()


def test_a_health_that_trickles_in_does_not_outlast_the_time_that_is_allowed(tmp_path: Path) -> None:
    with fake_server(health_trickle_s=0.02) as fake:  # its header would end after 4 s, and be an answer
        options = ServerOptions(base_url=fake.base_url, concurrency=1, ready_timeout_s=0.2)
        with pytest.raises(ServerUnavailable, match=r"not healthy within 0\.2 s.*nothing answered"):
            Server(options, "m", tmp_path / "server.log", {}, None).start()


def test_a_running_server_is_used_and_left_running(tmp_path: Path) -> None:
    with fake_server() as fake:
        options = ServerOptions(base_url=fake.base_url, concurrency=1, pids=(os.getpid(),))
        server = Server(options, "m", tmp_path / "server.log", {}, None)
        server.start()
        info = server.info()
        assert (info.started, info.models, info.ready_s) == (False, ("fake-model",), None)
        assert os.getpid() in server.pids()
        assert [caveat.code for caveat in server.caveats()] == ["gpus-by-word"]
        server.stop()
        assert server._asked("/health") == 200


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with fake_server() as fake, pytest.raises(UserInputError, match=r"answers at .* already"):
        server_of(tmp_path, base_url=fake.base_url).start()


def test_a_program_that_does_not_exist_is_said(tmp_path: Path) -> None:
    options = ServerOptions(command=("no-such-server", "{port}"), concurrency=1)
    with pytest.raises(UserInputError, match="no program 'no-such-server'"):
        Server(options, "m", tmp_path / "server.log", {}, None).start()


def test_a_key_that_a_server_prints_is_taken_out_of_its_log(tmp_path: Path) -> None:
    server = server_of(tmp_path, key="s3cret-key")
    try:
        server.start()
    finally:
        server.stop()
    log = (tmp_path / "server.log").read_text()
    assert "s3cret" not in log
    assert "***" in log


def test_a_server_that_prints_its_environment_leaves_no_secret_in_log_or_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf-value-1")
    monkeypatch.setenv("DB_PASSWORD", "correcthorsebatterystaple")
    server = server_of(tmp_path, "import os; print(dict(os.environ), flush=True); raise SystemExit(3)", key="odd one")
    with pytest.raises(ServerUnavailable, match="exit code 3") as caught:
        server.start()
    server.stop()
    log = (tmp_path / "server.log").read_text()
    for secret in ("hf-value-1", "correcthorse", "odd one"):
        assert secret not in log + caught.value.message
    assert "'HF_TOKEN': '***'" in log
    assert "'DB_PASSWORD': '***'" in log


def test_a_command_that_holds_the_key_is_refused(tmp_path: Path) -> None:
    options = ServerOptions(command=(sys.executable, "--flag=s3cret-key", "{port}"), concurrency=1)
    with pytest.raises(UserInputError, match="command holds the key"):
        Server(options, "m", tmp_path / "server.log", {}, "s3cret-key").start()


def test_a_server_that_others_can_reach_is_refused_unless_the_config_allows_it(tmp_path: Path) -> None:
    server = server_of(tmp_path, host="0.0.0.0")
    with pytest.raises(UserInputError, match=r"listens beyond this machine \(0\.0\.0\.0:\d+\)"):
        server.start()
    assert server.pids() == frozenset()
    server = server_of(tmp_path, host="0.0.0.0", allow_exposed=True)
    try:
        server.start()
        assert [caveat.code for caveat in server.caveats()] == ["server-exposed"]
    finally:
        server.stop()


# Forks twice and leaves its session, as a daemon does; says its id.
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() != 0: os._exit(0)
    exec(SERVER)
os.wait()
time.sleep(600)
"""


def test_a_daemon_does_not_escape_the_look_at_who_can_reach_it_nor_the_end(tmp_path: Path) -> None:
    code = DAEMON.replace("SERVER", repr(GOOD))
    server = server_of(tmp_path, code, host="0.0.0.0")
    with pytest.raises(UserInputError, match=r"listens beyond this machine \(0\.0\.0\.0:\d+\)"):
        server.start()
    assert not any(lives(pid) for pid in pids_in(tmp_path / "server.log"))
    server = server_of(tmp_path, code)
    try:
        server.start()
        started = pids_in(tmp_path / "server.log")
        assert set(started) <= server.pids()
    finally:
        server.stop()
    assert not any(lives(pid) for pid in started)


def test_an_answer_from_a_process_that_the_command_did_not_start_is_refused(tmp_path: Path) -> None:
    port = free_port()
    server = server_of(tmp_path, "import time; time.sleep(600)", base_url=f"http://127.0.0.1:{port}")
    stranger = [sys.executable, "-c", GOOD, str(port), "200", "127.0.0.1"]
    with subprocess.Popen(stranger, stdout=subprocess.PIPE) as other:
        try:
            server._launch()
            assert other.stdout is not None
            other.stdout.readline()  # it listens a moment later
            while server._asked("/health") is None:
                assert other.poll() is None
            with pytest.raises(UserInputError, match="is no process of the server's command"):
                server._refuse_exposed(answers=True)
            assert server.pids() == frozenset()
        finally:
            server.stop()
            for child in psutil.Process(other.pid).children():
                child.kill()
            other.kill()


def test_a_server_on_another_machine_is_refused_unless_the_sources_are_its() -> None:
    with pytest.raises(UserInputError, match=r"another machine \(192\.0\.2\.7\).*no remote sensor"):
        refuse_elsewhere("http://192.0.2.7:8000", None)
    refuse_elsewhere("http://192.0.2.7:8000", "192.0.2.7")
    refuse_elsewhere("http://127.0.0.1:8000", None)
    refuse_elsewhere("http://0.0.0.0:8000", None)
    refuse_elsewhere("http://localhost:8000", None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"concurrency": None}, "either concurrency"),
        ({"request_rate_hz": 1.0}, "either concurrency"),
        ({"command": ()}, "needs a command"),
        ({"command": ("vllm",)}, "needs {port}"),
        ({"command": ("vllm", "{port}", "--api-key", "x")}, "must hold no key"),
        ({"command": ("vllm", "{port}", "--api-key=x")}, "must hold no key"),
        ({"command": ("env", "HF_TOKEN=x", "vllm", "{port}")}, "must hold no key"),
        ({"extra_body": {"Authorization": "x"}}, "must hold no key"),
        ({"command": (), "base_url": "http://user:pw@127.0.0.1:1"}, "no user, password"),
        ({"command": (), "base_url": "127.0.0.1:8000"}, "must be like http"),
        ({"pids": (1,)}, "one that is started here is known"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, object], told: str) -> None:
    content = {"command": ("vllm", "{port}"), "concurrency": 1} | changes
    with pytest.raises(ValueError, match=told.replace("{", r"\{")):
        ServerOptions.model_validate_json(json.dumps(content))
