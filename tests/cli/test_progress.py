"""What a person sees on a terminal while a campaign runs: a real one, and the same lines without one."""

from __future__ import annotations

import fcntl
import io
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from campaigns import in_child, spec_of
from command import config, environment
from rich.cells import cell_len
from rich.console import Console

from harness.cli.main import main
from harness.cli.progress import LiveListener
from harness.cli.run import interrupt_on_signals
from harness.measure.base import Progress
from harness.run.retries import Attempt
from harness.store.files import find_runs

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CURSOR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

SHORT = """\
campaign: short
defaults:
  task: text-generation
  engine: simulated
  sources: {kind: simulated, node: {clock: virtual}}
  measure: {window_s: 1, null_window_s: 0.5, idle_s: 0.5, warm_up_max_s: 0, min_repeats: 2, max_repeats: 2}
runs:
  - model: [a-model, another-model]
"""


def on_a_terminal(columns: int, *arguments: str | Path, cwd: Path) -> tuple[int, str]:
    """Run the command as a shell in a terminal does. Returns its exit code and all that it wrote, in lines."""
    end, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", *map(str, arguments)],
        cwd=cwd,
        env=env | {"TERM": "xterm"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    written = b""
    while True:
        try:
            part = os.read(end, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        written += part
    os.close(end)
    return process.wait(60), CURSOR.sub("\r", COLOUR.sub("", written.decode()))


@pytest.mark.parametrize("columns", [80, 120])
def test_a_campaign_on_a_terminal_shows_a_bar_and_ends_well(tmp_path: Path, columns: int) -> None:
    code, written = on_a_terminal(columns, "run", config(tmp_path, SHORT), "--in-process", cwd=tmp_path)
    assert code == 0, written
    assert "Traceback" not in written
    lines = re.split(r"[\r\n]+", written)
    assert max(map(cell_len, lines)) <= columns
    assert any(line.startswith("━" * 20 + " 2/2 after 0:00:") for line in lines)
    told = " ".join(" ".join(lines).split())
    assert "2 done, 0 failed, 0 left, " in told
    assert "complete another-model batch 1 (simulated): " in told
    assert "2 complete, 0 failed, 0 already done." in told


@pytest.mark.parametrize("as_json", [False, True])
def test_a_campaign_goes_on_when_nobody_reads_what_it_says(tmp_path: Path, as_json: bool) -> None:
    unread, pipe = os.pipe()
    os.close(unread)
    arguments = ["run", str(config(tmp_path, SHORT)), "--in-process", *["--json"] * as_json]

    def run() -> None:
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        with open(1, "w", closefd=False) as out, open(2, "w", closefd=False) as err:
            sys.stdout, sys.stderr = out, err
            sys.argv = ["harness", *arguments]
            os.chdir(tmp_path)
            main()

    try:
        assert in_child(run) == 0
    finally:
        os.close(pipe)
    assert [run.record.status for run in find_runs([tmp_path / "results"])] == ["complete", "complete"]


def test_a_stop_is_a_ctrl_c_unless_it_is_ignored_already() -> None:
    def under_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interrupt_on_signals()
        os.kill(os.getpid(), signal.SIGHUP)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise SystemExit(7) from None

    assert in_child(under_nohup) == 7


@pytest.fixture
def halfway() -> LiveListener:
    """The first of six runs is about to begin its fourth window, 90.4 s after the start."""
    clock_s = iter([100.0])
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    live = LiveListener(out, (60.0, 300.0), lambda: next(clock_s, 190.4))
    spec = spec_of("HuggingFaceTB/SmolLM2-135M-Instruct", 128)
    live.run_started(1, 6, Attempt(spec))
    live.run_progress(spec, Progress("measure", 3, 40, 312.4, relative_halfwidth=0.034, left_s=75.0))
    return live


@pytest.mark.parametrize("columns", [80, 120])
def test_nothing_of_the_live_view_is_lost_on_a_narrow_terminal(halfway: LiveListener, columns: int) -> None:
    shown = Console(width=columns, file=io.StringIO())
    shown.print(halfway.view())
    assert isinstance(shown.file, io.StringIO)
    lines = shown.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert lines[0] == " " * 20 + " 0/6 after 0:01:30, 0 s to 3 min 30 s left"
    assert lines[1] == "0 done, 0 failed, 6 left, 312 W now"
    assert " ".join(" ".join(lines[2:]).split()) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct batch 128 (simulated): "
        "repeat 3 of at most 40, 312 W, interval ±3.4%, about 1 min 15 s left"
    )
