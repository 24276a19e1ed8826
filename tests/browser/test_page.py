"""The page in a real browser: Debian's Chromium, driven by Playwright. Skipped, loudly, where it cannot be had."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import harness
from report_records import EVIL, record_of, write_store

from harness.compare.comparison import compare_runs
from harness.units import format_plus_minus

KWH = 1 / 3600  # kWh per 1,000 generations that take one joule each


def missing(why: str) -> None:
    warnings.warn(f"THE PAGE WAS NOT TESTED IN A BROWSER: {why}", stacklevel=1)
    pytest.skip(why)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the package playwright is not installed (extra dev)")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        missing("there is no Chromium: apt-get install chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_store(folder / "results")
    told = harness("report", "--out", "report.html", "--grid", "usa-2023", cwd=folder)
    assert told.code == 2, told.err  # two records cannot be read; the page is there
    assert "12 runs, 2 of them in no ranking" in told.out
    return folder / "report.html"


@pytest.fixture
def opened(browser, report) -> Iterator[Any]:
    """The page at 1440 px; at the end nothing may have been said, asked for, or popped up."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: said.append(request.url) if request.url != report.as_uri() else None)
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready=yes]")
    yield page
    context.close()
    assert said == []


def ratio_of(least: Any, most: Any) -> tuple[float, float, float]:
    """As harness compare finds it: what both boards share cancels."""
    told = compare_runs([least, most]).comparisons[0]
    return told.low, told.ratio, told.high


def column(page: Any, name: str = "th a") -> list[str]:
    return page.locator(f"table.ranking tbody {name}").all_inner_texts()


def test_sorting_filtering_and_the_keyboard(opened):
    loads = {"a": (10, 6), "b": (20, 12), "c": (30, 18), EVIL: (170, 169)}  # joules at batch 1 and 8
    least_first = [name for _, name in sorted((joules, name) for name, pair in loads.items() for joules in pair)]
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.textContent") == "Skip to the ranking"
    assert column(opened) == least_first
    low, ratio, high = ratio_of(record_of("a", 700.0, 8), record_of(EVIL, 17_100.0, 1))
    assert (
        opened.locator("#hero .verdict").inner_text()
        == f"{EVIL} (batch 1) takes {ratio:.2f} times (95 %: {low:.2f} to {high:.2f}) the energy of a (batch 8)."
    )
    assert opened.locator("img").count() == 0  # the name is a name
    header = opened.locator("th.energy")
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").focus()
    opened.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(opened) == least_first[::-1]
    opened.locator("button[data-sort=model]").click()
    assert column(opened) == sorted(least_first)
    assert column(opened, "td.stars .rated")[0].startswith("☆") is False

    opened.locator("input[name=text]").fill("b")
    assert column(opened) == ["b", "b"]
    assert "2 rows" in opened.locator("#count").inner_text()
    opened.locator("input[name=text]").fill("")
    opened.locator("#tasks button", has_text="every task").click()
    opened.locator("select[name=dtype]").select_option("float32")
    assert column(opened) == ["painter", "sketcher"]
    opened.locator("select[name=dtype]").select_option("")
    opened.locator("select[name=mark]").select_option("measured")
    assert column(opened) == ["painter", "sketcher"]
    opened.locator("select[name=mark]").select_option("")
    opened.locator("input[name=study]").check()
    assert "of which 1 to 50 are shown" in opened.locator("#count").inner_text()
    opened.locator("#pages button", has_text="Next").press("Enter")
    assert "51 to 100" in opened.locator("#count").inner_text()
    assert opened.evaluate("document.activeElement.textContent") == "Next"


def test_every_number_leads_to_its_run_with_budget_trace_and_caveats(opened):
    opened.locator("table.ranking tbody tr", has_text="batch 1").locator("a").first.click()
    section = opened.locator("details.run[open]")
    assert section.count() == 1
    told = section.inner_text()
    energy = record_of("a", 1100.0, 1).summary.gpu_energy_j
    energy_text = format_plus_minus(energy.value, energy.half_width).replace(" ", "\u00a0")
    assert f"{energy_text} J per generation, simulated (95 %" in told
    assert opened.url.endswith("#run-a-1-1100")  # by its run id: the link outlives a page with more runs
    assert "windows: from edge to edge" in told  # which is not the time at work
    assert "sensor gain" in told
    assert "100 to 300 W over 11.0 s, 4 samples" in told
    assert section.locator("rect.phase.at-work").count() > 0
    assert "harness explain a-1-1100" in told
    assert "not measured" not in told or "no meter" in told
    for name in ("run-100", "%"):  # no such run, and no name at all: nothing happens
        opened.goto(opened.url.split("#")[0] + f"#{name}")
    out = opened.locator("#missing").inner_text()
    assert "schema version 99" in out
    assert "is not a valid record" in out
    assert f"failed: It does not fit {EVIL}" in out
    assert "no generation was counted" in out
    figures = opened.locator("#figures svg")
    assert figures.count() >= 4
    assert all("." in figure.get_attribute("aria-label") for figure in figures.all())
    opened.locator("#figures details.numbers summary").first.click()
    assert opened.locator("#figures details.numbers[open] tbody tr").count() > 90


def test_slider_adds_up_as_the_command_does(opened, tmp_path):
    opened.locator("select[name=run]").select_option(label="a, batch 1, float16, text generation (simulated)")
    opened.locator("select[name=gpu-to-system]").select_option("")
    for kind, edition in (
        ("pue", "google-2025"),
        ("grid", "france-2023"),
        ("phone", "epa-2023"),
        ("car", "uk-petrol-2024"),
    ):
        label = opened.locator(f"select[name={kind}] option", has_text=f"{edition}:").first.inner_text()
        opened.locator(f"select[name={kind}]").select_option(label=label)
    slider = opened.locator("input[name=per-day]")
    slider.focus()
    for _ in range(20):  # a decade in steps of 0.05
        opened.keyboard.press("ArrowRight")
    per_day = float(opened.locator("input[name=count]").input_value())
    assert per_day == 10_000
    data = opened.evaluate("JSON.parse(document.getElementById('data').textContent)")
    used = {kind: opened.locator(f"select[name={kind}]").input_value() for kind in ("pue", "grid", "phone", "car")}
    factor = {kind: next(each for each in data["factors"][kind] if each["id"] == used[kind]) for kind in used}
    number = opened.locator("input[name=count]")
    for asked, words in (("1e12", "the sums below are of 1,000,000,000."), ("0", "the sums below are of 1.")):
        number.fill(asked)
        assert opened.locator("#clamped").inner_text().endswith(words)
    number.fill("10000")
    assert opened.locator("#clamped").inner_text() == ""
    facility_kwh = 10 * KWH / 1000 * per_day * factor["pue"]["value"]
    chosen = [f"--{kind}={factor[kind]['edition']}" for kind in ("grid", "phone", "car")]
    expected = harness("equivalents", f"{facility_kwh:.12f}kWh", *chosen, "--json", cwd=tmp_path).document
    cells = opened.locator("#sum td[data-span='1']").all()
    found = {cell.get_attribute("data-quantity"): float(cell.get_attribute("data-value")) for cell in cells}
    assert found["facility"] == pytest.approx(facility_kwh, rel=1e-6)
    names = [step["name"] for step in data["recipe"] if step["name"] != "car_miles"]
    assert {name: found[name] for name in names} == pytest.approx({name: expected[name] for name in names}, rel=1e-6)


def test_nothing_is_cut_off_at_either_width_by_day_or_by_night(browser, report, tmp_path):
    kept = os.environ.get("TEST_ARTIFACTS")
    pictures = Path(kept or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    grounds = {}
    for width in (375, 1440):
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(report.as_uri() + "#run-a-1-1100")
            page.wait_for_selector("details.run[open] .body")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.screenshot(path=pictures / f"report-{width}-{scheme}.png", full_page=kept is not None)
            page.close()
    assert grounds == {"light": "rgb(251, 250, 247)", "dark": "rgb(20, 20, 19)"}


def test_eight_gpus_add_up_from_all_of_them_and_the_study_opens_on_its_spread(browser, tmp_path):
    root = Path(__file__).parents[2] / "results" / "example-replay"
    run = next(root.glob("gpt2-b1-*")).name
    scores = ["task,model,metric,value", "text-generation,gpt2,F1,0.3", "text-generation,gpt2-xl,F1,0.4"]
    scores += ["text-to-image,segmind/tiny-sd,FID,12"]
    (tmp_path / "q.csv").write_text("\n".join(scores), encoding="utf-8")
    harness("report", "--results", root, "--out", "own.html", "--traces", "0", "--quality", "q.csv", cwd=tmp_path)
    lines = harness("explain", run, "--results", root, "--json", cwd=tmp_path).document["lines"]
    explained = {line["name"]: line["value"] for line in lines}
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto((tmp_path / "own.html").as_uri())
    drawn = page.locator("#figures h3", has_text="Quality against energy")
    assert drawn.count() == 1
    page.locator("#tasks button", has_text="every task").click()
    assert drawn.count() == 0  # two metrics share no axis
    assert "(F1, FID)" in page.locator("#figures > p").inner_text()
    page.locator("#tasks button", has_text="text generation").click()
    page.locator("select[name=run]").select_option(
        label="gpt2, batch 1, float32, wikitext, text generation (replay, simulated)"
    )
    cells = {name: page.locator(f"#sum td[data-quantity={name}][data-span='0']") for name in ("node", "facility")}
    found = {name: float(cell.get_attribute("data-value")) for name, cell in cells.items()}
    assert found == pytest.approx({name: explained[f"{name}_energy_kwh"] for name in found}, rel=1e-6)
    page.locator("select[name=boundary]").select_option("above_idle")
    above = [
        float(page.locator(f"#sum td[data-quantity={name}][data-span='0']").get_attribute("data-value"))
        for name in ("device", "node")
    ]
    assert above[0] == pytest.approx(above[1])  # no share of the rest of the machine
    page.goto((root.parent / "study" / "report.html").as_uri())  # committed, and tested to be current
    general = page.locator("figure", has_text="General-purpose against task-specific").inner_text()
    assert "For text classification general models take" in general
    assert "(the study: means of 8 and 8)" in general
    assert "For text generation" not in general  # gpt2 and two others stand twice in the catalogue
    # 2.907 and 0.00229 kWh, the means of Table 2
    assert (
        page.locator("#hero .verdict").inner_text()
        == "Text to image takes 1,270 times the energy of text classification."
    )
    assert page.locator("table.ranking tbody th a").first.get_attribute("href") == "https://arxiv.org/abs/2311.16863"
    page.close()
