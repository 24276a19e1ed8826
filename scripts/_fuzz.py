"""Give every reader new inputs by the thousand; each is read or refused in a sentence, or this fails.

    scripts/fuzz --examples 10000                    # Hypothesis: valid files with a few bytes, cells or values changed
    scripts/fuzz --examples 10000 --atheris          # atheris instead, led by coverage, where it is installed

Each reader runs in a process of its own, which may have 6 GiB of addresses and is ended 30 s after any one input began.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ADDRESSES_BYTES = 6 * 1024**3
SLOWEST_S = 30.0


class Watch:
    """Counts what became of inputs, and ends the process at one that takes too long."""

    def __init__(self, target: str) -> None:
        from fuzz.targets import TARGETS

        self._target = next(each for each in TARGETS if each.name == target)
        self.inputs = self._target.inputs
        self._counts: Counter[bool] = Counter()
        self._slowest_s, self._began_s = 0.0, time.monotonic()
        signal.signal(signal.SIGTERM, self._stopped)

    def _stopped(self, *_: object) -> None:
        self.tell()
        os._exit(1)

    def run(self, content: bytes) -> None:
        faulthandler.dump_traceback_later(SLOWEST_S, exit=True)
        start_s = time.monotonic()
        self._counts[self._target.run(content)] += 1
        self._slowest_s = max(self._slowest_s, time.monotonic() - start_s)
        faulthandler.cancel_dump_traceback_later()

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    def tell(self) -> None:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{self._target.name:16} {self.count:7,} inputs {self._counts[True]:7,} read "
            f"{self._counts[False]:7,} refused   slowest {self._slowest_s:6.2f} s   peak {peak_mb:5.0f} MB   "
            f"in all {time.monotonic() - self._began_s:6.0f} s",
            flush=True,
        )


def by_hypothesis(target: str, examples: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings

    watch = Watch(target)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(watch.inputs)
    def check(content: bytes) -> None:
        watch.run(content)

    check()
    watch.tell()


def by_atheris(target: str, examples: int) -> None:
    import tempfile

    import atheris
    from hypothesis import HealthCheck, Phase, given, settings

    with atheris.instrument_imports(include=["harness"]):
        watch = Watch(target)
    corpus = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))  # atheris starts from valid files that Hypothesis changed

    @settings(max_examples=100, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(watch.inputs)
    def keep(content: bytes) -> None:
        (corpus / f"{hash(content):x}").write_bytes(content)

    keep()

    def run(content: bytes) -> None:
        watch.run(content)
        if watch.count == examples:  # libFuzzer ends the process itself, without a word to Python
            watch.tell()

    atheris.Setup(["fuzz", f"-runs={examples}", "-max_len=65536", "-verbosity=0", str(corpus)], run)
    os.chdir(corpus)  # what it finds is left there
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description="Give every reader inputs that nobody meant.")
    parser.add_argument("--examples", type=int, default=10_000, help="inputs for each reader")
    parser.add_argument("--only", nargs="*", default=[], help="names of readers")
    parser.add_argument("--atheris", action="store_true", help="led by coverage, by atheris")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.atheris and importlib.util.find_spec("atheris") is None:
        print("error: atheris is not installed.\n  pip install atheris; or leave --atheris out.", file=sys.stderr)
        return 2
    if given.here:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES_BYTES, ADDRESSES_BYTES))
        (by_atheris if given.atheris else by_hypothesis)(given.here, given.examples)
        return 0
    from fuzz.targets import TARGETS

    names = [target.name for target in TARGETS if not given.only or target.name in given.only]
    if unknown := set(given.only) - {target.name for target in TARGETS}:
        print(f"error: there is no reader {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    failed = [name for name in names if _apart(name, given.examples, given.atheris)]
    print(f"{len(names) - len(failed)} of {len(names)} readers without a fault" + f": not {failed}" * bool(failed))
    return 1 if failed else 0


def _apart(name: str, examples: int, atheris: bool) -> int:
    """One reader in a process of its own. Its exit code."""
    command = [sys.executable, __file__, "--here", name, "--examples", str(examples)]
    return subprocess.run([*command, *(["--atheris"] if atheris else [])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
