"""The pages of a run and of a sweep in a real browser: contents, clicks, no errors in its console.

Needs playwright, the extra `browser`, and a Chromium of the system or of playwright.
"""

import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from extras import needs
from musigma.commands.evaluate import evaluate
from workbench.runs.folder import RunFolder
from workbench.sweeps.job import run_job
from workbench.sweeps.report import report

pytestmark = [pytest.mark.slow, needs("playwright")]

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import Error, sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox"] if as_root else []
            )
        except Error as error:
            pytest.skip(f"there is no Chromium: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """A function that opens a page's file at a size of `SIZES`; no page may have had an error."""
    errors, contexts = [], []

    def open_it(file, size="desktop"):
        context = chromium.new_context(**SIZES[size], offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda output: (
                errors.append(output.text) if output.type in ("error", "warning") else None
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


_pages = {}


@pytest.fixture
def pages(compose_small, tmp_path_factory):
    """A sweep of four completed runs, one of them evaluated, and one that failed."""
    if _pages:
        return _pages
    parent = tmp_path_factory.mktemp("pages") / "sweeps" / "beta"
    for beta in ("1.0", "4.0"):
        for seed in ("0", "1"):
            overrides = ["model=vae", f"model.objective.beta={beta}", f"seed={seed}"]
            varied = ["model.objective.beta", "seed"]
            launch = compose_small(*overrides, "trainer.max_epochs=2")
            launch = launch._replace(
                config={**launch.config, "varied": varied, "sweep": "beta"},
                parent=parent,
                name=f"beta={beta[0]},seed={seed}",
                in_sweep=True,
            )
            run_job(launch)
    shutil.copytree(parent / "beta=4,seed=1", parent / "failed <b>#2")
    failed = RunFolder(parent / "failed <b>#2")
    failed.write_metrics(status="failed", error="ValueError: <script>alert(1)</script>")
    failed.write_failure("Traceback </script><script>alert(2)</script>")
    evaluated = parent / "beta=1,seed=0"
    evaluate([str(evaluated)], parent, checkpoint="best", images=20, samples=25, seed=0)
    _pages.update(sweep=report(str(parent), parent.parent), run=evaluated / "report.html")
    return _pages


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text("utf-8"))["metrics"]


def number(text):
    return float(re.sub(r"[^\d.−]", "", text).replace("−", "-"))


def cells(page, selector):
    """The visible rows of a table, each as heading → text."""
    names = page.locator(f"{selector} thead th").all_inner_texts()
    rows = page.locator(f"{selector} tbody tr:visible").all()
    names = [re.sub(r"[\s≠▲▼]", "", name) for name in names]
    return [dict(zip(names, row.locator("td").all_inner_texts(), strict=True)) for row in rows]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["sweep", "run"])
def test_a_page_fits_the_screen_and_shows_its_numbers(pages, opened, name, size):
    page = opened(pages[name], size)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 25)"
    assert is_dark == (size == "dark")
    value = page.locator("td.number").first.bounding_box()
    assert value["x"] + value["width"] <= SIZES[size]["viewport"]["width"]
    assert pages[name].stat().st_size < MOST_BYTES
    for image in page.locator("img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_the_sweeps_table_shows_the_recorded_metrics(pages, opened):
    page = opened(pages["sweep"])
    rows = cells(page, "#runs")
    assert len(rows) == 4
    for row in rows:
        recorded = metrics_of(pages["sweep"].parent / row["run"])
        for name in ("test/elbo", "test/distortion", "test/rate", "test/l1"):
            assert number(row[name]) == pytest.approx(recorded[name], abs=0.006)
    best = max(rows, key=lambda row: number(row["test/elbo"]))
    marked = page.locator("#runs tr", has=page.locator("td.best")).first
    assert best["run"] in marked.inner_text()


def test_clicking_a_heading_sorts_and_the_filter_hides_rows(pages, opened):
    page = opened(pages["sweep"])
    page.click("#runs th button:text('test/elbo')")
    values = [number(row["test/elbo"]) for row in cells(page, "#runs")]
    assert values == sorted(values)
    page.click("#runs th button:text('test/elbo')")
    assert [number(row["test/elbo"]) for row in cells(page, "#runs")] == values[::-1]
    dots = page.locator("#explore circle.dot")
    before = dots.count()
    page.fill("#filter", "beta>=4 seed=1")
    assert [row["run"] for row in cells(page, "#runs")] == ["beta=4,seed=1"]
    assert len(cells(page, "#settings")) == 1
    assert dots.count() < before
    page.reload()
    assert page.input_value("#filter") == "beta>=4 seed=1"
    assert len(cells(page, "#runs")) == 1
    page.fill("#filter", "")
    assert len(cells(page, "#runs")) == 4


def test_metric_and_axes_can_be_chosen_and_points_name_their_runs(pages, opened):
    page = opened(pages["sweep"])
    page.select_option("#metric", "test/l1")
    rows = cells(page, "#settings")
    losses = [number(row["test/l1"].partition("±")[0]) for row in rows]
    (worse,) = [row["behind"] for row in rows if row["behind"] != "best"]
    assert number(worse.partition("±")[0]) == pytest.approx(abs(losses[0] - losses[1]), abs=2e-4)
    page.select_option("#x", "test/rate")
    page.select_option("#y", "test/distortion")
    assert "test/rate (nats per image)" in page.locator("#explore").text_content()
    page.locator("#explore circle.hit").first.hover()
    tip = page.locator("#tip").inner_text()
    run = tip.splitlines()[0]
    recorded = metrics_of(pages["sweep"].parent / run)
    (rate,) = re.findall(r"test/rate: (\S+)", tip)
    assert number(rate) == pytest.approx(recorded["test/rate"], rel=1e-5)
    page.locator("#curves circle").first.hover(force=True)  # another point may lie above
    assert re.search(r"step \d+: ", page.locator("#tip").inner_text())


def test_axes_have_units_and_numbers_with_equally_many_decimals(pages, opened):
    page = opened(pages["sweep"])
    for tag, unit in (("val/elbo", "nats per image"), ("train/l1", "per pixel")):
        page.select_option("#tag", tag)
        page.select_option("#y", tag.replace("train", "test").replace("val", "test"))
        for chart in ("#curves", "#explore"):
            assert f"({unit})" in page.locator(chart).text_content()
            ticks = page.locator(f"{chart} text[text-anchor=end]").all_text_contents()
            decimals = {len(tick.partition(".")[2]) for tick in ticks}
            assert len(ticks) > 1
            assert len(decimals) == 1
    page.locator("#parallel path.hit").first.dispatch_event("pointermove", {"bubbles": True})
    assert "seed=" in page.locator("#tip").inner_text()


def test_two_runs_are_compared_side_by_side(pages, opened):
    page = opened(pages["sweep"])
    page.select_option("#a", "beta=1,seed=0")
    page.select_option("#b", "beta=4,seed=0")
    rows = {row[0]: row[1:] for row in map(_texts, page.locator("#compared tbody tr").all())}
    assert rows["model.objective.beta"] == ["1", "4"]
    assert "seed" not in rows
    page.check("#all")
    rows = {row[0]: row[1:] for row in map(_texts, page.locator("#compared tbody tr").all())}
    assert rows["seed"] == ["0", "0"]


def _texts(row):
    return row.locator("td").all_inner_texts()


def test_links_lead_to_a_runs_page_and_back(pages, opened):
    page = opened(pages["sweep"])
    page.click("#runs a:text-is('beta=1,seed=0')")
    assert page.title() == "beta=1,seed=0"
    page.click("a:text('← beta')")
    assert page.title() == "beta"
    link = page.locator("a", has_text="beta=4,seed=0").first.get_attribute("href")
    assert link.endswith("/")  # a run without a page: the link leads to its folder
    folder = page.locator("p:has-text('failed <b>#2') a").evaluate("a => a.href")
    assert Path(unquote(urlsplit(folder).path)) == pages["sweep"].parent / "failed <b>#2"


def test_names_and_tracebacks_are_shown_as_text(pages, opened):
    page = opened(pages["sweep"])
    assert "ValueError: <script>alert(1)</script>" in page.locator("body").inner_text()
    page.click("summary:text('Traceback')")
    assert "</script><script>alert(2)" in page.locator("pre:visible").last.inner_text()


def test_the_runs_table_shows_the_measured_metrics(pages, opened):
    page = opened(pages["run"])
    found = json.loads((pages["run"].parent / "evaluation" / "metrics.json").read_text("utf-8"))
    rows = page.locator("#metrics tr[data-metric]").all()
    assert len(rows) > 5
    for row in rows:
        value = number(row.locator("td.number").first.inner_text())
        assert value == pytest.approx(found[row.get_attribute("data-metric")]["mean"], abs=0.006)
    facts = page.locator("dl.facts").inner_text()
    assert "ELBO(beta=1.0, samples=1)" in facts
    assert re.search(r"best epoch\s+[12] of 2", facts)
    changed = page.locator("table", has_text="default").inner_text()
    assert "model.objective.beta" in changed


def test_a_click_enlarges_a_plot_and_copies_a_command(pages, opened):
    from playwright.sync_api import expect

    page = opened(pages["run"])
    image = page.locator("figure img").first
    width = image.bounding_box()["width"]
    image.click()
    large = page.locator("dialog[open] img")
    assert large.bounding_box()["width"] > width
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    button = page.locator(".command button").first
    page.clock.install()  # stop the time
    button.click()
    expect(button).to_have_text("copied")
    page.clock.run_for(2000)
    expect(button).to_have_text("copy")


def test_the_latent_space_follows_the_pointer(pages, opened):
    page = opened(pages["run"])
    data = json.loads(page.locator("#explorer-data").text_content())
    page.locator("#explorer").scroll_into_view_if_needed()
    box = page.locator("#explorer").bounding_box()
    seen = set()
    for share in (0.2, 0.8):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        seen.add(page.locator("#decoded").evaluate("tile => tile.style.backgroundPosition"))
        words = page.locator("#decoded-words").inner_text()
        across, upwards = map(float, re.findall(r"-?[\d.]+", words.replace("−", "-")))
        assert data["low"][0] <= across <= data["high"][0]
        nearest = min(data["codes"], key=lambda c: (c[0] - across) ** 2 + (c[1] - upwards) ** 2)
        label = data["classes"][data["codes"].index(nearest)]
        assert f"class {label}" in page.locator("#nearest-words").inner_text()
    assert len(seen) == 2
