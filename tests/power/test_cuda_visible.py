import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.power.cuda_visible import parse_visible_devices

UUIDS = ["GPU-aaaa1111-0000", "GPU-aaaa2222-0000", "GPU-bbbb3333-0000"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,-1,1", [0]),
        ("-1", []),
        ("0,3,1", [0]),  # the first that does not exist ends the list
        ("no", []),
        ("1gpu,2", [1, 2]),  # strtoul
        ("0,0", []),  # named twice
        ("0,GPU-bbbb", [0]),
        ("GPU-bbbb", [2]),
        ("GPU-BBBB3333", [2]),
        ("GPU-aaaa1,GPU-bbbb3333-0000", [0, 2]),
        ("GPU-aaaa", []),  # fits two
        ("GPU-bbbb,GPU-cccc,GPU-aaaa1", [2]),
        ("GPU-bbbb,0", [2]),
        ("GPU-bbbb,GPU-bbbb3", []),
        ("MIG-1234,MIG-5678", ["MIG-1234", "MIG-5678"]),
        ("MIG-1234,0", ["MIG-1234"]),
        ("MIG-GPU-aaaa1111-0000/1/0", ["MIG-GPU-aaaa1111-0000/1/0"]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(value, expected):
    names = [UUIDS[entry] if isinstance(entry, int) else entry for entry in expected]
    assert parse_visible_devices(value, UUIDS) == names


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["0", "1", "2", "7", "-1", "", " ", "GPU-a", "GPU-bbbb", "MIG-1", "1x", "٣"])).map(
            ",".join
        ),
    ),
    st.integers(0, 3),
)
def test_any_cuda_visible_devices_gives_distinct_known_devices(value, count):
    uuids = UUIDS[:count]
    visible = parse_visible_devices(value, uuids)
    assert len(set(visible)) == len(visible)
    assert all(entry in uuids or entry.startswith("MIG-") for entry in visible)
