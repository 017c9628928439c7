"""The report and the card in Chromium, on a phone too, and by keyboard: `make test-page`."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium

from experiments.cards.card import QUESTIONS, Card, Curve, Number
from figures import card, report

pytestmark = pytest.mark.browser

GALLERY = Path(__file__).parents[1] / "figures/gallery/laptop"
PHONE = 375
WIDTHS = [PHONE, 500, 1200]
LOOK = """({
  wider: document.documentElement.scrollWidth > %d,
  nameless: [...document.images].filter((image) => !image.alt).length,
})"""
SILENT = """[...document.querySelectorAll("section[id^=figure-]")].filter(
  (figure) => !figure.querySelector("code") || !figure.querySelector("a[href]")).length"""
# One row for each of these estimates, in a table that is on the page.
FILL = """((estimates) => {
  const body = document.querySelector("table.claims").tBodies[0];
  const row = body.rows[0];
  body.replaceChildren(...estimates.map((estimate) => {
    const copy = row.cloneNode(true);
    copy.cells[2].textContent = estimate;
    return copy;
  }));
})(%s)"""
COLUMN = """[...document.querySelector("table.claims").tBodies[0].rows].map(
  (row) => row.cells[%d].textContent.trim())"""
FOCUS = """(() => {
  const here = document.activeElement;
  const shown = here.matches(":focus-visible") && getComputedStyle(here).outlineStyle !== "none";
  return [here.textContent.trim(), here.closest("th") !== null, shown];
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The shipped report, with stand-ins for the tables that are not shipped."""
    folder = tmp_path_factory.mktemp("report") / "gallery"
    shutil.copytree(GALLERY, folder)
    summary = json.loads((folder / "report.json").read_text())
    for name in [one for figure in summary["figures"].values() for one in figure["tables"]]:
        (folder / name).write_text("epoch,loss\n1,2\n")
    return report.write(folder)


@pytest.fixture(scope="module")
def card_page(tmp_path_factory):
    """A card with a line for every question, the longest words and curves of two kinds."""
    note = "95 % Student interval over 8 training sets, seeds averaged within each of them"
    name = "share of samples nearer to their own training set than to another of the same size"
    times = np.array([10.0, 100.0, 1000.0])
    values = np.array([[0.1, 0.2], [0.2, 0.2], [0.3, 0.5]])
    made = Card(
        "tree U-Net, depth 4, 320 sequences per training set",
        {"networks": "8 disjoint splits × 1 seeds", "made by": "python -m experiments card RUN"},
        "epochs",
        [Number(question, name, 0.123456, 0.1, 0.15, 0.5, note) for question in QUESTIONS],
        [Curve(panel, panel, "nats", "↓ better", times, values) for panel in ("loss", "gap")],
        {"τ_test": 300.0},
        ["what an attacker gains: python -m experiments card RUN --compute"],
    )
    return card.write(made.to_json(), tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def browser():
    with Chromium() as opened:
        yield opened


def tab_to(browser, heading):
    """Press Tab until this heading of a table has the focus; whether one sees that."""
    for _ in range(100):
        browser.press("Tab")
        text, is_heading, shown = browser.ask(FOCUS)
        if is_heading and text.startswith(heading):
            return shown
    raise AssertionError(f"Tab never reaches {heading!r}")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_fits_and_says_what_it_shows(browser, page, width):
    browser.open(page, width)
    assert browser.ask(LOOK % width) == {"wider": False, "nameless": 0}
    assert (
        browser.ask('document.querySelector("table.claims").querySelectorAll("th button").length')
        == 4
    )
    assert browser.ask(SILENT) == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_claims_are_sorted_by_keyboard(browser, page, width):
    browser.open(page, width)
    assert tab_to(browser, "verdict")
    browser.press("Enter")
    verdicts = browser.ask(COLUMN % 3)
    assert len(set(verdicts)) > 1
    assert verdicts == sorted(verdicts)
    browser.press("Enter")
    assert browser.ask(COLUMN % 3) == sorted(verdicts, reverse=True)


def test_estimates_are_sorted_as_numbers(browser, page):
    """Whatever their digits and minus sign; what has no number comes after those that have."""
    ordered = ["-1e+02 [-2e+02, 3]", "\N{MINUS SIGN}0.036 [0, 1]", "-0.0015", "0 [0, 0]"]
    ordered += ["8e-05", "0.0082 [0.001, 0.01]", "0.056", "9", "10", "nan", "not measured"]
    browser.open(page, PHONE)
    browser.ask(FILL % json.dumps(ordered[1::2] + ordered[::2]))
    assert tab_to(browser, "estimate")
    browser.press("Enter")
    assert browser.ask(COLUMN % 2) == ordered
    browser.press("Enter")
    assert browser.ask(COLUMN % 2) == ordered[::-1]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_card_fits(browser, card_page, width):
    browser.open(card_page, width)
    assert browser.ask(LOOK % width) == {"wider": False, "nameless": 0}
    assert browser.ask('document.querySelectorAll("section h2").length') == len(QUESTIONS) + 1


def test_both_can_be_printed(browser, page, card_page):
    """On sheets of paper, the card on few of them."""
    sheets = []
    for each in (page, card_page):
        browser.open(each, 1200)
        sheets.append(len(re.findall(rb"/Type\s*/Page\b", browser.pdf())))
    assert sheets[0] > 2
    assert 1 <= sheets[1] <= 4
