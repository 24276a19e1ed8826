"""What one GPU can tell in nine minutes without a network: scripts/measure_gpu starts this.

Characterises the board's sensor, measures what the meter itself costs, and with random weights the energy of the
study's text generators, of a chat model and of image models; fits it by phase; sees how much the weights' values
matter; sets it beside the study. Nothing is fetched. Every part leaves its output at once: a stop loses the part in
progress, of a campaign only the run in progress.

Exit code 0: all that there was time for; 1: a part failed; 2: it cannot start; 130: stopped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _measure_gpu_wheels import ROOT, fetch, missing, provide

EXIT_FAILED, EXIT_CANNOT, EXIT_STOPPED = 1, 2, 130
# Imported once and then forked, before anything opens a GPU: each run of a few seconds would pay as long again.
ENGINES = (
    "harness.engines.transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.generation",
    "harness.engines.diffusers",
    "diffusers.pipelines.stable_diffusion",
    "diffusers.pipelines.stable_diffusion_xl",
)


def main() -> int:
    """Read the options, see that the packages are there, and go."""
    start_s = time.monotonic()
    given = options()
    if given.fetch_wheels is not None:
        return fetch(given.fetch_wheels, given.python_version)
    out: Path = given.out or ROOT / "results" / ("measure-gpu-simulated" if given.simulated else "measure-gpu")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return cannot(f"{out} is there and not empty.", "Give another --out.")
    if not given.minutes > 0:
        return cannot("--minutes must be above 0.", "Nine is what the parts were made for.")
    out.mkdir(parents=True, exist_ok=True)
    wheels = given.wheels or ROOT / "scripts" / "wheels"
    packages = provide(wheels.resolve(), out.resolve() / ".packages") if wheels.is_dir() else "no folder of wheels"
    lacking = missing()
    if vital := [name for name, told in lacking.items() if told is None]:
        hint = "scripts/measure_gpu --fetch-wheels DIR, on a machine with a package registry, prepares them."
        return cannot(f"These packages are needed and not here: {', '.join(vital)} ({packages}).", hint)
    return measure(given, out, start_s, packages, lacking)


def options() -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(
        prog="measure_gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="a new or empty folder; results/measure-gpu if left out")
    parser.add_argument("--minutes", type=float, default=9.0, help="when it has to be done (default: 9)")
    parser.add_argument("--gpu", default="0", help="index or UUID, as CUDA counts them")
    parser.add_argument("--simulated", action="store_true", help="on a simulated GPU: no engine, no GPU, no torch")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages that this machine lacks: scripts/wheels")
    parser.add_argument("--fetch-wheels", type=Path, metavar="DIR", help="fill such a folder, and do nothing else")
    parser.add_argument("--python-version", metavar="3.12", help="of the GPU machine (with --fetch-wheels)")
    return parser.parse_args()


def cannot(why: str, hint: str) -> int:
    """Say what is wrong and what to do."""
    print(f"error: {why}\n  {hint}", file=sys.stderr)
    return EXIT_CANNOT


def measure(given: argparse.Namespace, out: Path, start_s: float, packages: str, lacking: dict[str, str | None]) -> int:
    """All parts, one after the other; the summary and the README are brought up to date after each."""
    from _measure_gpu_parts import Context
    from _measure_gpu_plan import PARTS, Device
    from _measure_gpu_summary import write_summary

    from harness.run.executors import Executor, InProcessExecutor, SubprocessExecutor

    for polite in (signal.SIGTERM, signal.SIGHUP):  # a scheduler's stop, a lost terminal: as a Ctrl-C
        signal.signal(polite, interrupt)
    executor: Executor = InProcessExecutor() if given.simulated else SubprocessExecutor(preload=ENGINES)
    gpu = int(given.gpu) if given.gpu.isdecimal() else given.gpu
    context = Context(
        out=out.resolve(),
        total_s=max(1.0, 60 * given.minutes - (time.monotonic() - start_s)),  # less what unpacking took
        start_s=time.monotonic(),
        device=Device("unknown", given.simulated, gpu),
        executor=executor,
        say=lambda told: print(told, flush=True),
    )
    about: dict[str, Any] = {
        "started_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": given.minutes,
        "simulated": given.simulated,
        "packages": packages,
        "lacking": lacking,
        "command": " ".join(["scripts/measure_gpu", *sys.argv[1:]]),
        "parts": [],
    }
    stopped = False
    try:
        for number, part in enumerate(PARTS, start=1):
            until_s = max(0.0, context.left_s(part.name))
            context.say(f"[{number}/{len(PARTS)}] {part.name}: {part.told} (until {until_s:.0f} s from now)")
            lacks = [name for name in part.needs if name in lacking and not given.simulated]
            state = one_part(part, context, lacks)
            about["parts"].append(state)
            context.say(f"  {state['state']} after {state['took_s']:.1f} s. {state['reason'] or ''}")
            write_summary(context, about)
            if state["state"] == "stopped":
                stopped = True
                break
            if part.name == "doctor" and state["state"] != "done":
                break
    finally:
        executor.close()
    thin(context.out)
    write_summary(context, about)
    shutil.rmtree(context.out / ".packages", ignore_errors=True)  # the versions are told by now
    context.say(f"Results: {out}")
    if stopped:
        return EXIT_STOPPED
    if about["parts"][0]["state"] != "done":
        return cannot(
            f"Nothing could be measured: {about['parts'][0]['reason']}", "Everything else rests on this part."
        )
    return EXIT_FAILED if any(part["state"] == "failed" for part in about["parts"]) else 0


def one_part(part: Any, context: Any, lacks: list[str]) -> dict[str, Any]:
    """Do a part, whatever comes of it. What came of it."""
    from _measure_gpu_parts import LeftOut, run_part

    from harness.errors import HarnessError

    start_s, before, found = time.monotonic(), len(context.dropped), None
    state, reason = "done", None
    try:
        if lacks:
            raise LeftOut(f"this machine lacks {', '.join(lacks)}")
        if context.left_s(part.name) <= 0 and part.name not in ("doctor", "report"):
            raise LeftOut("its time was spent by the parts before it")
        found = run_part(part, context)
        state = "partly" if len(context.dropped) > before else "done"
    except LeftOut as error:
        state, reason = "left out", f"{error}."
    except HarnessError as error:
        state, reason = "failed", " ".join(filter(None, (error.message, error.hint)))
    except KeyboardInterrupt:
        state, reason = "stopped", "It was stopped; finished runs of it are kept."
    return {
        "name": part.name,
        "told": part.told,
        "state": state,
        "reason": reason,
        "took_s": time.monotonic() - start_s,
        "share_s": part.share * context.total_s,
        "dropped": context.dropped[before:],
        "found": found if isinstance(found, dict) else None,
    }


def thin(out: Path) -> None:
    """Leave out what is large: power over time, where the page has drawn it."""
    for trace in out.glob("runs/*/*/trace.parquet") if (out / "report.html").exists() else ():
        trace.unlink()


def interrupt(*_: object) -> None:
    """End as a Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched: a library that would try must not wait
    sys.exit(main())
