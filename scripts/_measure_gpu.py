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
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _measure_gpu_wheels import LARGEST_MIB, ROOT, VITAL, fetch, missing, provide

EXIT_FAILED, EXIT_CANNOT, EXIT_STOPPED = 1, 2, 130
FEWEST_MINUTES = 1.0
# Imported once and then forked, before anything opens a GPU: each run of a few seconds would pay as long again. Not
# diffusers: it asks for GPUs while it is imported, and few runs need it.
ENGINES = (
    "harness.engines.transformers",
    "harness.engines.random_models",
    "transformers.models.auto.modeling_auto",
    *(f"transformers.models.{name}.modeling_{name}" for name in ("gpt2", "gpt_neo", "bloom", "opt", "llama", "clip")),
)


def main() -> int:
    """Read the options, see that the packages are there, and go."""
    start_s = time.monotonic()
    given = options()
    if given.fetch_wheels is not None:
        return fetch(given.fetch_wheels, given.python_version, given.there)
    given.simulated = given.simulated or given.rehearse
    out: Path = given.out or ROOT / "results" / ("measure-gpu-simulated" if given.simulated else "measure-gpu")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return cannot(f"{out} is there and not empty.", "Give another --out.")
    if not given.minutes >= FEWEST_MINUTES:
        return cannot(f"--minutes must be {FEWEST_MINUTES:g} at least.", "Nine is what the parts were made for.")
    archive = given.archive
    if archive is not None and out.resolve() in archive.resolve().parents:
        return cannot(f"{archive} lies in {out}, and would be packed into itself.", "Put the archive beside it.")
    out.mkdir(parents=True, exist_ok=True)
    wheels = given.wheels or ROOT / "scripts" / "wheels"
    with tempfile.TemporaryDirectory(prefix="measure-gpu-") as unpacked:
        packages = provide(wheels.resolve(), Path(unpacked)) if wheels.is_dir() else "no folder of wheels"
        lacking = missing()
        if vital := [f"{name} ({VITAL[name]})" for name in lacking if name in VITAL]:
            hint = "scripts/measure_gpu --fetch-wheels DIR, on a machine with a package registry, prepares them."
            return cannot(f"These packages are needed and not here: {', '.join(vital)}. Wheels: {packages}.", hint)
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
    parser.add_argument(
        "--rehearse", action="store_true", help="on a simulated H200 on the wall clock: does the plan fit into the time"
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help="also as one .tar.gz, kept up to date; README and figures beside it",
    )
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="packages that this machine lacks: scripts/wheels")
    parser.add_argument("--fetch-wheels", type=Path, metavar="DIR", help="fill such a folder, and do nothing else")
    parser.add_argument("--python-version", metavar="3.12", help="of the GPU machine (with --fetch-wheels)")
    parser.add_argument(
        "--there",
        type=Path,
        metavar="FILE",
        help=f"names of packages that it has, as pip list writes them (with --fetch-wheels, at most {LARGEST_MIB} MiB)",
    )
    return parser.parse_args()


def cannot(why: str, hint: str) -> int:
    """Say what is wrong and what to do."""
    print(f"error: {why}\n  {hint}", file=sys.stderr)
    return EXIT_CANNOT


def measure(given: argparse.Namespace, out: Path, start_s: float, packages: str, lacking: dict[str, str]) -> int:
    """All parts, one after the other; summary, README and archive are brought up to date after each."""
    from _measure_gpu_archive import pack
    from _measure_gpu_context import Context
    from _measure_gpu_plan import PARTS, Device
    from _measure_gpu_summary import write_summary

    from harness.run.executors import Executor, InProcessExecutor, SubprocessExecutor

    for polite in (signal.SIGTERM, signal.SIGHUP):  # a scheduler's stop, a lost terminal: as a Ctrl-C
        signal.signal(polite, interrupt)
    virtual = given.simulated and not given.rehearse
    executor: Executor = InProcessExecutor() if virtual else SubprocessExecutor(preload=ENGINES)

    def kept() -> None:
        if given.archive is not None:
            pack(context.out, given.archive.resolve())

    def keep() -> None:
        write_summary(context, about)
        kept()

    not_preloaded = preloaded(executor) if isinstance(executor, SubprocessExecutor) else {}
    gpu = int(given.gpu) if given.gpu.isdecimal() else given.gpu
    context = Context(
        out=out.resolve(),
        total_s=max(1.0, 60 * given.minutes - (time.monotonic() - start_s)),  # less what unpacking and importing took
        start_s=time.monotonic(),
        device=Device("unknown", given.simulated, gpu, rehearsed=given.rehearse),
        executor=executor,
        say=lambda told: print(told, flush=True),
        kept=kept,
    )
    about: dict[str, Any] = {
        "started_at_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": given.minutes,
        "simulated": given.simulated,
        "rehearsed": given.rehearse,
        "packages": packages,
        "lacking": lacking,
        "not_preloaded": not_preloaded,
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
            keep()
            if state["state"] == "stopped":
                stopped = True
                break
            if part.name == "doctor" and state["state"] != "done":
                break
    finally:
        executor.close()
    keep()
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
    from _measure_gpu_context import LeftOut
    from _measure_gpu_parts import run_part

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
        "runs": context.counts.get(part.name),
        "dropped": context.dropped[before:],
        "found": found if isinstance(found, dict) else None,
    }


def preloaded(executor: Any) -> dict[str, str]:
    """Import what every run needs, once, before anything is measured. What could not be, and why."""
    from harness.errors import HarnessError

    start_s = time.monotonic()
    try:
        refused: dict[str, str] = executor.prepare()
    except HarnessError as error:  # the first run will say the same
        refused = {"everything": error.message}
    print(f"Libraries imported for all runs in {time.monotonic() - start_s:.1f} s.", flush=True)
    for name, reason in refused.items():
        print(f"  each run imports {name} anew: {reason}", flush=True)
    return refused


def interrupt(*_: object) -> None:
    """End as a Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is fetched: a library that would try must not wait
    sys.exit(main())
