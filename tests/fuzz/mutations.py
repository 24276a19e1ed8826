"""Valid files made invalid: bytes, cells or nested values changed in a few places, as Hypothesis draws them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import strategies as st

# Where readers go wrong: ends of ranges, digits that are no digits, markup, paths, quotes, ends of lines.
TOKENS = (
    *("", "0", "-1", "1e309", "-1e308", "1e-320", "nan", "inf", "-Infinity", "9" * 30, "9" * 5000, "0x" + "f" * 60),
    *("²", "١", "1_0", "true", "null", "~", "\u2028", "\ufeff", "\x00", "\r", "\n", "\t", '"', "'", '""', "\\", "\\u"),
    *(",", ";", ",,,,", "{", "}", "[", "]", "[[[[", "&a [*a]", "*a", "<<: *a", "!!python/name:os.system", "? ", ": "),
    *("../../etc/passwd", "/dev/zero", "~", "*.csv", "a[1].parquet", "'; DROP TABLE runs; --", "<script>", "\x1b[31m"),
    *("9999-12-31T23:59:59Z", "0001-01-01T00:00Z", "2026-02-30T00:00", "data: ", "data: {}\n\n", "1:1:1:1", "\\ud800"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, 10**400, 0.5, 1e308, -1e308, 1e-320, float("nan"), float("inf")),
    *("", "x", "x" * 300, "\x00", "\ud800", "²", "..", "../..", "/dev/zero", "{text}", "2026-01-01T00:00:00+00:00"),
    *([], [[]], {}, {"a": {}}, [None], ["x", 1], {"id": "x"}, [1, 1], {"": ""}, [[[[[[1]]]]]]),
)

Place = st.floats(0, 1)


def _at(place: float, length: int) -> int:
    return min(int(place * (length + 1)), length)


# --- bytes --------------------------------------------------------------------------------------------

_BYTE_EDITS = st.tuples(
    st.sampled_from(["insert", "replace", "cut", "drop", "repeat", "flip"]),
    Place,
    Place,
    st.sampled_from([token.encode() for token in TOKENS]) | st.binary(max_size=6),
)


def _edited(content: bytes, edits: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, place, other, token in edits:
        start = _at(place, len(content))
        end = min(len(content), start + 1 + int(other**6 * len(content)))  # mostly a short stretch
        if kind == "insert":
            content = content[:start] + token + content[start:]
        elif kind == "replace":
            content = content[:start] + token + content[end:]
        elif kind == "cut":
            content = content[:start]
        elif kind == "drop":
            content = content[:start] + content[end:]
        elif kind == "repeat":
            content = content[:end] + content[start:]
        elif start < len(content):
            content = content[:start] + bytes([content[start] ^ 1 << int(other * 7)]) + content[start + 1 :]
    return content


def bytes_of(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """A seed with one to six of its bytes, or stretches of them, changed; sometimes anything at all."""
    edited = st.builds(_edited, st.sampled_from(seeds), st.lists(_BYTE_EDITS, min_size=1, max_size=6))
    return edited | st.binary(max_size=200) if len(seeds) == 1 else edited


# --- tables -------------------------------------------------------------------------------------------

_CELL_EDITS = st.tuples(
    st.sampled_from(["cell", "cell", "cell", "row", "twice", "swap", "column"]),
    Place,
    Place,
    st.sampled_from(TOKENS) | st.text(max_size=8),
)


def _retabled(text: str, edits: list[tuple[str, float, float, str]]) -> bytes:
    rows = [line.split(",") for line in text.splitlines()]
    for kind, place, other, token in edits:
        if not rows:
            break
        at = min(int(place * len(rows)), len(rows) - 1)
        row = rows[at]
        column = min(int(other * len(row)), len(row) - 1)
        if kind == "cell" and row:
            row[column] = token
        elif kind == "row":
            rows.pop(at)
        elif kind == "twice":
            rows.insert(at, list(row))
        elif kind == "swap":
            rows[at], rows[-1] = rows[-1], rows[at]
        elif kind == "column" and row:
            row.pop(column)
    return "\n".join(",".join(row) for row in rows).encode("utf-8", errors="surrogatepass") + b"\n"


def tables_of(*seeds: str) -> st.SearchStrategy[bytes]:
    """A CSV file of which cells and rows are changed."""
    return st.builds(_retabled, st.sampled_from(seeds), st.lists(_CELL_EDITS, min_size=1, max_size=5))


# --- nested values ------------------------------------------------------------------------------------

_TREE_EDITS = st.tuples(
    st.sampled_from(["set", "set", "set", "delete", "rename", "wrap", "copy"]),
    Place,
    Place,
    st.sampled_from(VALUES) | st.text(max_size=6) | st.integers(-10, 10**6),
)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [above] if above else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        found += _places(below, (*above, key))
    return found


def _regrown(text: str, edits: list[tuple[str, float, float, Any]]) -> Any:
    tree = json.loads(text)
    for kind, place, other, value in edits:
        places = _places(tree)
        if not places:
            break
        *above, key = places[min(int(place * len(places)), len(places) - 1)]
        parent = tree
        for each in above:
            parent = parent[each]
        if kind == "set":
            parent[key] = copy.deepcopy(value)
        elif kind == "delete":
            del parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[str(value)[:300]] = parent.pop(key)
        elif kind == "wrap":
            parent[key] = [parent[key]]
        elif kind == "copy":
            *from_above, from_key = places[min(int(other * len(places)), len(places) - 1)]
            source = tree
            for each in from_above:
                source = source[each]
            parent[key] = copy.deepcopy(source[from_key])
    return tree


def trees_of(write: Callable[[Any], str], *seeds: Any) -> st.SearchStrategy[bytes]:
    """A nested document of which values are changed, deleted, renamed or put in each other's place."""
    texts = [json.dumps(seed) for seed in seeds]
    trees = st.builds(_regrown, st.sampled_from(texts), st.lists(_TREE_EDITS, min_size=1, max_size=4))
    return trees.map(lambda tree: write(tree).encode("utf-8", errors="surrogatepass"))


def as_json(tree: Any) -> str:
    """One line of JSON, NaN and all."""
    return json.dumps(tree)


def as_yaml(tree: Any) -> str:
    """YAML as people write it, or, where the writer cannot, JSON, which is YAML too."""
    try:
        return yaml.safe_dump(tree, allow_unicode=True)
    except (yaml.YAMLError, ValueError, UnicodeError):
        return json.dumps(tree)
