"""The load for a real GPU, on CPU tensors: it ends when told, waits for its own queue, and stops on Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from harness.clock import RealClock, VirtualClock  # noqa: E402
from harness.engines import square_load  # noqa: E402
from harness.engines.square_load import MatrixLoad  # noqa: E402
from harness.errors import SourceUnavailable  # noqa: E402


class Counting(MatrixLoad):
    """A load whose products take half a millisecond of virtual time, and that remembers what it was asked."""

    def __init__(self, clock: VirtualClock, trouble: Callable[[], None] = lambda: None) -> None:
        self.clock, self.trouble = clock, trouble
        self.launched = self.waited_for = self.most_waiting = 0
        super().__init__(clock, "cpu")

    def _multiply(self, count: int) -> None:
        self.launched += count
        self.clock.sleep_s(0.0005 * count)
        self.most_waiting = max(self.most_waiting, self.launched - self.waited_for)

    def _marked(self):
        self.trouble()
        return self

    def synchronize(self) -> None:
        """One chunk is done; at the end all are."""
        self.waited_for += 1


def test_a_real_clock_load_ends_when_told_and_not_before():
    load = MatrixLoad(RealClock(), "cpu")
    until_s = RealClock().now_s() + 0.05
    load.hold(until_s)
    assert RealClock().now_s() >= until_s
    load.close()


def test_the_matrices_grow_until_a_product_takes_half_a_chunk():
    load = Counting(VirtualClock())
    assert (load.product_s, load.products_per_chunk) == (pytest.approx(0.0005), 1)
    assert load._left.shape == (square_load.SMALLEST_SIDE, square_load.SMALLEST_SIDE)


def test_never_more_than_two_chunks_wait_beside_the_one_just_launched():
    clock = VirtualClock()
    load = Counting(clock)
    load.launched = load.waited_for = load.most_waiting = 0
    load.hold(clock.now_s() + 0.1)
    assert load.launched == 200
    assert load.most_waiting == square_load.WAITING_CHUNKS + 1


def test_the_load_overshoots_by_less_than_one_launch():
    clock = VirtualClock()
    load = Counting(clock)
    until_s = clock.now_s() + 0.0102
    load.hold(until_s)
    assert until_s <= clock.now_s() < until_s + 0.0005


def test_a_moment_that_has_passed_asks_for_no_work():
    clock = VirtualClock()
    load = Counting(clock)
    load.launched = 0
    load.hold(clock.now_s() - 1.0)
    assert load.launched == 0


def test_ctrl_c_waits_for_what_was_launched_and_leaves_nothing_running():
    def stop():
        raise KeyboardInterrupt

    clock = VirtualClock()
    load = Counting(clock, stop)
    load.waited_for = 0
    with pytest.raises(KeyboardInterrupt):
        load.hold(clock.now_s() + 1.0)
    assert load.waited_for == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_torch_says_why_it_cannot_load_one():
    with pytest.raises(SourceUnavailable, match="cannot be put under load"):
        MatrixLoad(RealClock())
