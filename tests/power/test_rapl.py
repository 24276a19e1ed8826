import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import VirtualClock
from harness.errors import SourceUnavailable
from harness.power.host import RaplSource, open_rapl

RANGE_UJ = 262_143_328_850  # an Intel server package


def domain(root: Path, folder: str, name: str, energy_uj: int = 5_000_000, range_uj: int = RANGE_UJ) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return path


@pytest.fixture
def two_sockets(tmp_path):
    for folder, name in (
        ("intel-rapl", ""),
        ("intel-rapl:0", "package-0"),
        ("intel-rapl:0:0", "core"),
        ("intel-rapl:0:1", "uncore"),
        ("intel-rapl:0:2", "dram"),
        ("intel-rapl:1", "package-1"),
        ("intel-rapl:1:0", "dram"),
        ("intel-rapl:2", "psys"),
        ("intel-rapl-mmio", ""),
        ("intel-rapl-mmio:0", "package-0"),
        ("dtpm", ""),
    ):
        domain(tmp_path, folder, name)
    return tmp_path


def ids(sources):
    return [source.info.id for source in sources]


def test_packages_and_memory_are_opened_once_and_their_parts_left_out(two_sockets):
    sources, reason = open_rapl(two_sockets)
    assert reason is None
    assert ids(sources) == ["rapl:package-0", "rapl:package-0:dram", "rapl:package-1", "rapl:package-1:dram"]
    assert [(s.info.kind, s.info.scope) for s in sources] == [("cpu", "node"), ("dram", "node")] * 2
    assert {s.info.provenance for s in sources} == {"measured"}
    assert not any(s.info.runs_model for s in sources)


def test_mmio_serves_where_the_msr_interface_is_missing(tmp_path):
    domain(tmp_path, "intel-rapl-mmio:0", "package-0")
    sources, reason = open_rapl(tmp_path)
    assert ids(sources) == ["rapl:package-0"]
    assert reason == "Memory not measured: this processor shows no DRAM counter."


def test_counter_is_read_in_joules_at_the_middle_of_the_call(two_sockets):
    clock = VirtualClock(7.0)
    source = open_rapl(two_sockets, clock)[0][0]
    (two_sockets / "intel-rapl:0/energy_uj").write_text("6500000\n")
    reading = source.read()
    assert (reading.t_s, reading.energy_j, reading.power_w) == (7.0, 6.5, None)
    assert source.foreign_processes() is None
    source.close()


def test_wrap_adds_one_range(tmp_path):
    path = domain(tmp_path, "intel-rapl:0", "package-0", energy_uj=RANGE_UJ - 1_000_000)
    source = open_rapl(tmp_path)[0][0]
    before_j = source.read_energy_j()
    (path / "energy_uj").write_text("2000000")
    assert source.read_energy_j() - before_j == pytest.approx(3.0, abs=1e-6)


@given(st.lists(st.integers(0, 999_999), max_size=30), st.integers(0, 999_999))
def test_energy_is_the_sum_of_all_steps_whatever_the_wraps(tmp_path_factory, steps_uj, start_uj):
    path = domain(tmp_path_factory.mktemp("rapl"), "intel-rapl:0", "package-0", start_uj, range_uj=1_000_000)
    source = RaplSource(path, "cpu", "package-0", VirtualClock())
    first_j = source.read_energy_j()
    for total_uj in itertools.accumulate(steps_uj, initial=start_uj):
        (path / "energy_uj").write_text(str(total_uj % 1_000_000))
        energy_j = source.read_energy_j()
        assert energy_j - first_j == pytest.approx((total_uj - start_uj) / 1e6, abs=1e-9)


def test_fall_without_known_range_is_an_error_not_a_negative_energy(tmp_path):
    path = domain(tmp_path, "intel-rapl:0", "package-0")
    (path / "max_energy_range_uj").unlink()
    source = open_rapl(tmp_path)[0][0]
    (path / "energy_uj").write_text("1")
    with pytest.raises(SourceUnavailable, match="fell from 5000000 to 1 µJ"):
        source.read_energy_j()


def test_counter_that_vanishes_raises(tmp_path):
    path = domain(tmp_path, "intel-rapl:0", "package-0")
    source = open_rapl(tmp_path)[0][0]
    (path / "energy_uj").unlink()
    with pytest.raises(SourceUnavailable, match="holds no number"):
        source.read()


def test_dies_that_mirror_one_counter_are_counted_once(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0-die-0", energy_uj=900_000_000)
    domain(tmp_path, "intel-rapl:1", "package-0-die-1", energy_uj=900_000_100)
    domain(tmp_path, "intel-rapl:2", "package-1-die-0", energy_uj=900_000_200)
    assert ids(open_rapl(tmp_path)[0]) == ["rapl:package-0-die-0", "rapl:package-1-die-0"]


def test_dies_with_counters_of_their_own_are_all_counted(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0-die-0", energy_uj=900_000_000)
    domain(tmp_path, "intel-rapl:1", "package-0-die-1", energy_uj=700_000_000)
    assert len(open_rapl(tmp_path)[0]) == 2


# --- nothing to measure ---


def test_machine_without_powercap_says_why(tmp_path):
    sources, reason = open_rapl(tmp_path / "powercap")
    assert sources == []
    assert "does not exist (containers and virtual machines hide RAPL)" in reason


def test_powercap_without_packages_says_so(tmp_path):
    domain(tmp_path, "intel-rapl:0", "psys")
    sources, reason = open_rapl(tmp_path)
    assert sources == []
    assert reason == f"CPU and memory not measured: no RAPL package under {tmp_path}."


class LockedPath(type(Path())):
    """A file that only root may read, also when root runs the test."""

    def read_text(self, *args, **kwargs):
        if self.name == "energy_uj" and self.parent.name == "intel-rapl:1":
            raise PermissionError(13, "Permission denied", str(self))
        return super().read_text(*args, **kwargs)


def test_one_unreadable_package_leaves_no_half_measured_node(two_sockets):
    sources, reason = open_rapl(LockedPath(two_sockets))
    assert sources == []
    assert reason == (f"CPU and memory not measured: only root may read {two_sockets}/intel-rapl:1/energy_uj.")
