import ctypes
import os
from dataclasses import replace

import pynvml
import pytest

from harness.clock import VirtualClock
from harness.errors import SourceUnavailable
from harness.power.nvml import NvmlSource, open_gpus, visible_gpus
from harness.simulation.gpu import FOREIGN_PID, NodeState, SimulatedNode
from harness.simulation.nvml import SimulatedNvml, installed

STATE = NodeState("A100-SXM4-80GB", 2, seed=7, counter="sensor", start_s=100.0, load_path=None)


def node_of(**changes) -> SimulatedNode:
    return SimulatedNode(replace(STATE, **changes), VirtualClock(100.0))


@pytest.fixture
def node():
    node = node_of()
    with installed(node):
        yield node


def open_on(node, *selection, environ=None):
    return open_gpus(selection, "simulated", node.clock, environ or {})


class Quirky(SimulatedNvml):
    """A driver that answers some functions in its own way."""

    def __init__(self, node, **answers):
        super().__init__(node)
        self._functions.update(answers)

    def __enter__(self):
        self.install()
        return self

    def __exit__(self, *_):
        self.uninstall()


def answers(code):
    return lambda *_: code


def without_fields(*missing):
    """nvmlDeviceGetFieldValues of a driver that does not know some fields."""

    def wrap(plain):
        def call(handle, count, values):
            code = plain(handle, count, values)
            for entry in values._obj:
                if entry.fieldId in missing:
                    entry.nvmlReturn = pynvml.NVML_ERROR_INVALID_ARGUMENT
            return code

        return call

    return wrap


# --- reading ---


def test_reading_is_the_nodes_in_si_units(node):
    source = open_on(node, 0)[0]
    node.set_load(0, 0.5)
    node.clock.sleep_s(10.0)
    gpu, t_s = node.gpus[0], node.clock.now_s()
    reading = source.read()
    assert reading.t_s == t_s == 110.0
    assert reading.power_w == pytest.approx(gpu.power_w(t_s), abs=0.0005)
    assert reading.average_power_w == pytest.approx(gpu.average_power_w(t_s), abs=0.0005)
    assert reading.energy_j == pytest.approx(gpu.counter_j(t_s), abs=0.0005)
    assert source.read_energy_j() == reading.energy_j
    assert reading.clock_hz == 1.41e9
    assert reading.throttle == 0
    assert reading.utilisation_fraction == 0.5
    assert reading.temperature_c == round(gpu.temperature_c(t_s))


def test_fast_reading_leaves_the_slow_values_out(node):
    reading = open_on(node, 0)[0].read(slow=False)
    assert reading.power_w is not None
    assert (reading.energy_j, reading.average_power_w) == (None, None)
    assert (reading.clock_hz, reading.temperature_c, reading.throttle, reading.utilisation_fraction) == (
        None,
        None,
        None,
        None,
    )


def test_time_of_a_reading_is_the_middle_of_the_call():
    node = node_of(gpu_count=1)

    def slow_fields(handle, count, values):
        node.clock.sleep_s(0.4)
        return plain(handle, count, values)

    with Quirky(node) as library:
        source = open_on(node, 0)[0]
        plain = library._functions["nvmlDeviceGetFieldValues"]
        library._functions["nvmlDeviceGetFieldValues"] = slow_fields
        pynvml._nvmlGetFunctionPointer_cache.clear()
        assert source.read().t_s == pytest.approx(100.2)


def test_board_without_counter_has_no_energy_and_says_so():
    with installed(node := node_of(conditions=("no-counter",))):
        source = open_on(node, 0)[0]
        assert source.read_energy_j() is None
        assert source.read().energy_j is None
        assert source.read().power_w is not None
        assert source.info.counter_step_j is None
        assert [caveat.code for caveat in source.caveats] == ["no-counter"]


def test_utilisation_missing_in_mig_mode_is_none_not_zero():
    with installed(node := node_of(conditions=("mig",))):
        assert open_on(node)[0].read().utilisation_fraction is None


@pytest.mark.parametrize(("board", "is_mean"), [("A100-SXM4-80GB", False), ("H100-SXM", True), ("RTX-3090", True)])
def test_without_the_instant_field_the_plain_one_is_used_and_named_for_what_it_is(board, is_mean):
    node = node_of(gpu=board)
    with Quirky(node) as library:
        plain = library._functions["nvmlDeviceGetFieldValues"]
        library._functions["nvmlDeviceGetFieldValues"] = without_fields(186, 185)(plain)
        source = open_on(node, 0)[0]
        node.set_load(0, 1.0)
        node.clock.sleep_s(0.4)
        gpu, t_s = node.gpus[0], node.clock.now_s()
        expected_w = gpu.average_power_w(t_s) if is_mean else gpu.power_w(t_s)
        assert source.instant_supported is False
        assert source.read().power_w == pytest.approx(expected_w, abs=0.0005)
        assert source.read().average_power_w is None
        assert ("averaged-power" in [caveat.code for caveat in source.caveats]) is is_mean
        assert (source.info.sensor_window_s == 1.0) is is_mean


def test_driver_without_field_values_is_read_call_by_call():
    node = node_of()
    with Quirky(node, nvmlDeviceGetFieldValues=answers(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)):
        reading = open_on(node, 0)[0].read()
        assert reading.power_w == pytest.approx(node.gpus[0].power_w(100.0), abs=0.0005)
        assert reading.energy_j == pytest.approx(node.gpus[0].counter_j(100.0), abs=0.0005)


def test_driver_without_newer_names_is_read_by_the_older_ones():
    node = node_of()
    lacks = answers(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    with Quirky(node, nvmlDeviceGetTemperatureV=lacks, nvmlDeviceGetCurrentClocksEventReasons=lacks):
        reading = open_on(node, 0)[0].read()
        assert reading.temperature_c == 30.0
        assert reading.throttle == 1


def test_board_with_neither_counter_nor_power_is_refused():
    lacks = answers(pynvml.NVML_ERROR_NOT_SUPPORTED)
    functions = ("FieldValues", "PowerUsage", "TotalEnergyConsumption")
    node = node_of()
    with (
        Quirky(node, **{f"nvmlDeviceGet{name}": lacks for name in functions}),
        pytest.raises(SourceUnavailable, match="neither an energy counter nor a power reading"),
    ):
        open_on(node, 0)


def test_lost_board_raises_with_nvmls_words_the_board_and_advice():
    node = node_of()
    with Quirky(node) as library:
        source = open_on(node, 1)[1]
        lost = answers(pynvml.NVML_ERROR_GPU_IS_LOST)
        library._functions.update(nvmlDeviceGetFieldValues=lost, nvmlDeviceGetTotalEnergyConsumption=lost)
        pynvml._nvmlGetFunctionPointer_cache.clear()
        with pytest.raises(SourceUnavailable) as caught:
            source.read()
        assert caught.value.message == (
            'Cannot read power of GPU 1 (NVIDIA A100-SXM4-80GB): NVML answered "GPU is lost".'
        )
        assert "dmesg" in caught.value.hint
        with pytest.raises(SourceUnavailable, match="Cannot read energy from GPU 1"):
            source.read_energy_j()


# --- opening ---


def test_every_gpu_is_opened_and_the_selected_ones_run_the_model(node):
    sources = open_on(node, 1)
    assert [source.info.runs_model for source in sources] == [False, True]
    assert [source.info.id for source in sources] == [gpu.uuid for gpu in node.gpus]
    info = sources[1].info
    assert (info.kind, info.scope, info.provenance) == ("gpu", "device", "simulated")
    assert (info.device_name, info.driver) == ("NVIDIA A100-SXM4-80GB", "580.65.06")
    assert (info.power_limit_w, info.sensor_profile, info.sensor_period_s) == (400.0, "GA100", 0.1012)
    assert sources[1].caveats == ()


def test_gpu_is_selected_by_uuid_or_its_beginning(node):
    uuid = node.gpus[1].uuid
    for name in (uuid, uuid[:12]):
        assert [source.info.runs_model for source in open_on(node, name)] == [False, True]


def test_numbers_count_what_cuda_sees(node):
    hidden_first = {"CUDA_VISIBLE_DEVICES": "1"}
    assert [s.info.runs_model for s in open_on(node, 0, environ=hidden_first)] == [False, True]
    swapped = {"CUDA_VISIBLE_DEVICES": "1,0"}
    assert [s.info.runs_model for s in open_on(node, 1, environ=swapped)] == [True, False]


@pytest.mark.parametrize(
    ("selection", "environ", "message"),
    [
        (2, {}, r"There is no GPU 2: CUDA sees 2 of this machine's 2 GPU\(s\)\."),
        (-1, {}, "There is no GPU -1"),
        ("2", {}, "There is no GPU 2"),
        ("²", {}, "There is no GPU ²"),
        (1, {"CUDA_VISIBLE_DEVICES": "0"}, r"sees 1 of this machine's 2 GPU\(s\) with CUDA_VISIBLE_DEVICES='0'"),
        (0, {"CUDA_VISIBLE_DEVICES": ""}, "sees 0 of"),
        ("GPU-00000000", {}, "There is no GPU GPU-00000000"),
        ("GPU-", {}, "fits 2 GPUs"),
        ("MIG-5d6d7a05", {}, "is a MIG slice, and NVML meters only the whole board"),
        (0, {"CUDA_VISIBLE_DEVICES": "MIG-5d6d7a05"}, "is a MIG slice"),
    ],
)
def test_selection_that_cannot_be_is_refused(node, selection, environ, message):
    with pytest.raises(SourceUnavailable, match=message):
        open_on(node, selection, environ=environ)
    assert pynvml._nvmlLib_refcount == 0


def test_selected_board_in_mig_mode_is_refused_and_nothing_stays_open():
    with installed(node := node_of(conditions=("mig",))):
        with pytest.raises(SourceUnavailable, match=r"GPU 0 \(NVIDIA A100-SXM4-80GB\) is in MIG mode"):
            open_on(node, 0)
        assert pynvml._nvmlLib_refcount == 0
        assert len(open_on(node)) == 2  # metering the boards without a model is fine


def test_numbers_are_refused_where_cuda_and_nvml_count_different_boards_differently():
    node = node_of()

    def name(handle, buffer, size):
        index = ctypes.c_uint()
        library._functions["nvmlDeviceGetIndex"](handle, ctypes.byref(index))
        buffer.value = (b"NVIDIA T4", b"NVIDIA A100-SXM4-80GB")[index.value]
        return 0

    with Quirky(node, nvmlDeviceGetName=name) as library:
        with pytest.raises(SourceUnavailable, match="CUDA counts the fastest first") as caught:
            open_on(node, 0)
        assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in caught.value.hint
        uuid = node.gpus[1].uuid
        for selection, environ in (
            (1, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
            (uuid, {}),
            (0, {"CUDA_VISIBLE_DEVICES": uuid}),
        ):
            assert [s.info.runs_model for s in open_on(node, selection, environ=environ)] == [False, True]


@pytest.mark.parametrize(
    ("board", "codes"),
    [
        (b"NVIDIA Unheard Of", []),
        (b"NVIDIA GH200 480GB", ["module-power"]),
        (b"NVIDIA GB200", ["module-power"]),
    ],
)
def test_board_not_on_record_and_module_board_carry_caveats(board, codes):
    def name(handle, buffer, size):
        buffer.value = board
        return 0

    with Quirky(node := node_of(), nvmlDeviceGetName=name):
        assert [caveat.code for caveat in open_on(node, 0)[0].caveats] == codes


def test_boards_that_may_not_be_read_are_named_in_a_caveat():
    node = node_of()

    def by_index(index, out):
        if index.value == 1:
            return pynvml.NVML_ERROR_NO_PERMISSION
        return plain(index, out)

    with Quirky(node, nvmlDeviceGetHandleByIndex_v2=by_index):
        plain = SimulatedNvml._by_index.__get__(pynvml.nvmlLib)
        (source,) = open_on(node, 0)
        assert [caveat.code for caveat in source.caveats] == ["gpus-hidden"]
        assert "GPU(s) 1" in source.caveats[0].message


@pytest.mark.skipif(
    os.path.exists("/proc/driver/nvidia/version") or os.name != "posix", reason="this machine has a driver"
)
def test_machine_without_driver_is_told_how_to_go_on():
    with pytest.raises(SourceUnavailable) as caught:
        open_gpus((0,), "measured", VirtualClock())
    assert caught.value.message == ("No NVIDIA driver answers on this machine (libnvidia-ml.so.1 not found).")
    assert "`sources: simulated`" in caught.value.hint


def test_driver_that_is_not_loaded_is_reported_in_nvmls_words():
    node = node_of()
    with (
        Quirky(node, nvmlInitWithFlags=answers(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)),
        pytest.raises(SourceUnavailable, match='NVML answered "Driver Not Loaded"'),
    ):
        open_on(node, 0)


def test_init_and_shutdown_balance_and_close_may_come_twice(node):
    sources = open_on(node, 0)
    assert pynvml._nvmlLib_refcount == 2
    for source in (*sources, *sources):
        source.close()
    assert pynvml._nvmlLib_refcount == 0
    with pytest.raises(SourceUnavailable, match="Uninitialized"):
        sources[0].read()


def test_visible_gpus_asks_the_driver_and_leaves_nothing_open(node):
    first, second = (gpu.uuid for gpu in node.gpus)
    assert visible_gpus({}) == [first, second]
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "1,0"}) == [second, first]
    assert pynvml._nvmlLib_refcount == 0


# --- processes ---


def test_own_processes_are_not_foreign_and_others_are():
    with installed(node := node_of(conditions=("foreign-process",))):
        assert open_on(node, 0)[0].foreign_processes() == (FOREIGN_PID,)
    with installed(node := node_of()):
        assert open_on(node, 0)[0].foreign_processes() == ()


def test_process_list_that_is_not_given_cannot_be_told():
    for code in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION):
        with Quirky(node := node_of(), nvmlDeviceGetComputeRunningProcesses_v3=answers(code)):
            assert open_on(node, 0)[0].foreign_processes() is None


# --- a real board ---


@pytest.mark.gpu
def test_real_board_answers_with_rising_energy_and_plausible_power():
    from harness.clock import RealClock

    clock = RealClock()
    source = NvmlSource(0, "measured", clock, runs_model=True)
    try:
        first = source.read()
        clock.sleep_s(1.0)
        second = source.read()
        assert first.power_w is not None
        assert 5 < first.power_w < 2000
        if source.has_counter:
            assert 5 < second.energy_j - first.energy_j < 2000
    finally:
        source.close()
