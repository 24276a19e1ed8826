"""What the page's data holds, that foreign text stays text, and that its colours can be read."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from fakes import measurement_of, run_spec, trace_of
from report_records import EVIL, ONE_KWH, record_of

from harness.compare.comparison import compare_runs
from harness.report.apart import ends_apart
from harness.report.csv_table import comma_separated
from harness.report.details import detail, most_telling, phases
from harness.report.page import embedded, page
from harness.report.payload import Content, payload
from harness.report.quality import with_quality
from harness.report.ranking import ranking_row
from harness.report.study_rows import study_rows
from harness.report.text_tables import escaped, joined, markdown
from harness.study.models import reference


def content_of(*records, unreadable=(), study=()) -> Content:
    rows = [ranking_row(record, ONE_KWH) for record in records]
    details = {index: detail(record, None) for index, record in enumerate(records)}
    return Content("What it costs", rows, study, details, {"evil": EVIL}, unreadable, ONE_KWH)


def test_payload_holds_rows_stars_and_the_recipe_of_equivalents():
    data = payload(content_of(record_of("a", 1100.0), record_of("b", 5100.0), study=study_rows(reference(), ONE_KWH)))
    first = dict(zip(data["columns"], data["rows"][0], strict=True))
    assert first["energies"][0][0] == pytest.approx(10 / 3600)  # 10 J each
    assert first["energies"][3] is None  # the node was not metered
    assert [stars[0] for stars in first["stars"][0]] == ["5", "5"]
    known = {"energy_kwh": 2.0}
    for step in data["recipe"]:
        used = data["used"].get(step["kind"], {"value": 1, "scale": 1})
        of, rate = known[step["of"]], used["value"] * used["scale"]
        times = step["times"] or (rate if step["name"] == "carbon_g_co2e" else 1 / rate)
        known[step["name"]] = of * times
    assert known == pytest.approx({name: 2 * getattr(ONE_KWH, name) for name in known})
    studied = [row for row in data["rows"] if row[data["columns"].index("mark")] == "study"]
    assert len({row[data["columns"].index("model")] for row in studied}) >= 88
    assert all(row[data["columns"].index("energies")][0][1] is None for row in studied)  # estimated: no interval


def test_foreign_text_cannot_leave_the_data():
    made = page(content_of(record_of(EVIL, run_id="r"), unreadable=[(f"</script>{EVIL}", "\u2028")]))
    assert EVIL not in made
    assert made.count("</script>") == 2
    assert "\u2028" not in made
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', made, re.DOTALL)[1]
    data = json.loads(text)
    assert data["rows"][0][data["columns"].index("model")] == EVIL
    assert data["unreadable"] == [[f"</script>{EVIL}", "\u2028"]]
    assert json.loads(embedded(["<&>\u2029"])) == ["<&>\u2029"]
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", made)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", made)


def test_markdown_and_csv_hold_the_same_rows_and_what_was_left_out():
    left = record_of("idle", summary=record_of().summary.model_copy(update={"generations": 0}))
    content = content_of(record_of(EVIL), record_of("=b", 1100.0), left, unreadable=[("x.json", "broken")])
    content = replace(content, rows=with_quality(content.rows, {("text-generation", EVIL): ("=1+1", 0.5)}))
    told = markdown(content)
    rows = list(csv.DictReader(io.StringIO(comma_separated(content))))
    assert [row["model"] for row in rows] == ["'=b", EVIL, "idle"]
    assert [row["quality_metric"] for row in rows] == ["", "'=1+1", ""]
    assert float(rows[0]["gpu_kwh_per_1000"]) == pytest.approx(10 / 3600)
    assert (rows[0]["stars_equal_bands"], rows[1]["stars_equal_bands"], rows[2]["gpu_kwh_per_1000"]) == ("5", "1", "")
    assert "no generation was counted" in rows[2]["left_out"]
    assert EVIL not in told
    assert "&lt;img src=x onerror=alert\\(1\\)&gt;" in told
    assert "- x.json: broken" in told.replace("\\", "")
    assert told.index("=b") < told.index("&lt;img")
    assert f"0.5 ({escaped('=1+1')})" in told
    assert "| GPUs that ran the model, gross | GPUs that ran the model, above idle |" in told
    assert "## Edges of the stars" in told
    assert "| 7,000,000 |" in told
    # nothing becomes a link by itself, and a sentence is not followed by a colon
    assert escaped("see https://x.org, www.x.org and a@x.org") == r"see https\://x.org, www\.x.org and a\@x.org"
    assert (joined("It has version 2", "Update."), joined("x.json", "broken")) == (
        "It has version 2. Update.",
        "x.json: broken",
    )


def test_study_stands_in_the_same_tables_as_on_the_page():
    content = content_of(record_of("a", 1100.0), study=study_rows(reference(), ONE_KWH))
    told, rows = markdown(content), list(csv.DictReader(io.StringIO(comma_separated(content))))
    studied = [row for row in rows if row["mark"] == "study"]
    assert "- estimated-from-node: The study's files hold the energy of its whole node" in told
    assert told.count("### The study's models") == 1  # on the one task of the runs
    assert told.count("| study |") == sum(row["task"] == "text-generation" for row in studied)
    sdxl = next(row for row in studied if "stable-diffusion-xl" in row["model"])
    assert float(sdxl["node_as_study_kwh_per_1000"]) == pytest.approx(11.29, abs=0.01)  # the mean of its 30 runs
    assert float(sdxl["phone_charges"]) == pytest.approx(float(sdxl["gpu_kwh_per_1000"]) / 0.019)
    assert "## text-to-image" in markdown(content_of(study=content.study))


def test_page_of_nothing_still_builds_and_many_runs_keep_the_ends_of_the_ranking():
    assert payload(content_of())["rows"] == []
    rows = [ranking_row(record_of("m", 1000.0 * (index + 1)), ONE_KWH) for index in range(9)]
    assert set(most_telling(rows, 4)) == {0, 1, 7, 8}


def test_trace_keeps_its_peaks_and_its_windows():
    power_w = np.full(5000, 100.0)
    power_w[2345] = 500.0
    told = detail(record_of(), trace_of((np.arange(5000) * 0.01, power_w)))["trace"]
    assert max(told["w"]) == 500.0
    assert len(told["t"]) <= 480
    assert told["t"][told["w"].index(500.0)] == 23.45
    assert told["phases"][0] == ["repeat-1", 0.0, 11.0, 10.0, False]


def test_phases_follow_from_what_the_run_recorded():
    spec = run_spec(measure={"idle_s": 3.0, "null_window_s": 1.0, "settle_s": 2.0})
    windows = tuple(measurement_of(start_s=at_s, end_s=at_s + 11.0) for at_s in (20.0, 32.0))
    warm_up = {"duration_s": 15.0, "blocks": 3, "steady": True}
    record = record_of(spec=spec, measurements=windows, warm_up=warm_up)
    assert phases(record, 1.0, 47.0) == [
        ("idle before", 1.0, 4.0, None, False),  # warm-up of 15 s, then a rest of 1 s, end at the first window
        ("warm-up", 4.0, 19.0, None, False),
        ("null window", 19.0, 20.0, None, False),
        ("repeat-1", 20.0, 31.0, 10.0, False),
        ("null window", 31.0, 32.0, None, False),
        ("repeat-1", 32.0, 43.0, 10.0, False),
        ("null window", 43.0, 44.0, None, False),
        ("settling", 44.0, 45.0, None, False),
        ("idle after", 45.0, 47.0, None, False),  # the trace ends a second before it
    ]


def test_ends_of_a_group_have_the_ratio_that_compare_finds():
    records = [
        record_of("a", 1100.0),
        record_of("b", 3000.0),
        record_of("c", 5100.0),
        record_of("d", 900.0, origin="measured"),
    ]
    rows = [ranking_row(record, ONE_KWH) for record in records]
    found = {each.boundary: each for each in ends_apart(rows, records.__getitem__)}
    apart, told = found["gpu"], compare_runs([records[0], records[2]]).comparisons[0]
    assert (apart.least, apart.most, apart.ratio) == (
        0,
        2,
        pytest.approx(5.0),
    )  # 10 and 50 J; the measured one is alone
    assert (apart.low, apart.high) == (told.low, told.high)
    own = (rows[2].energy.low / rows[0].energy.high, rows[2].energy.high / rows[0].energy.low)
    assert own[0] < apart.low < 5.0 < apart.high < own[1]  # the board's gain cancels
    assert "node" not in found  # no meter


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_the_contrast_that_wcag_aa_asks_for():
    style = files("harness").joinpath("report", "page", "page.css").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")[:2]]
    assert [len(scheme) for scheme in schemes] == [14, 14]
    text = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("ground", "surface")]
    text += [("warn", "warn-soft"), ("other", "other-soft"), ("accent", "accent-soft"), ("on-accent", "accent")]
    shapes = [("study", "ground"), ("strong-line", "ground"), ("strong-line", "surface"), ("accent", "line")]
    shapes += [("warn", "ground"), ("other", "ground"), ("accent", "ground")]
    for scheme in schemes:
        for needed, pairs in ((4.5, text), (3.0, shapes)):
            for one, two in pairs:
                darker, lighter = sorted((luminance(scheme[one]), luminance(scheme[two])))
                assert (lighter + 0.05) / (darker + 0.05) >= needed, (one, two)
