"""The report and the card as a browser shows them: `make test-page`, which needs Chromium."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from experiments.cards.card import QUESTIONS, Card, Curve, Number
from figures import card, report

pytestmark = pytest.mark.browser

GALLERY = Path(__file__).parents[1] / "figures/gallery/laptop"
PROBE = """<script>addEventListener("load", () => {
  const table = document.querySelector("table.claims");
  const buttons = table.querySelectorAll("th button");
  buttons[3].click();
  const verdicts = [...table.tBodies[0].rows].map((row) => row.cells[3].textContent.trim());
  const sorted = [...verdicts].sort((x, y) => x.localeCompare(y, "en", { numeric: true }));
  buttons[3].focus();
  document.title = JSON.stringify({
    buttons: buttons.length,
    sorted: verdicts.join() === sorted.join(),
    focus: document.activeElement === buttons[3],
    wider: document.documentElement.scrollWidth > innerWidth,
    nameless: [...document.images].filter((image) => !image.alt).length,
    silent: [...document.querySelectorAll("section[id^=figure-]")].filter(
      (figure) => !figure.querySelector("code") || !figure.querySelector("a[href]")).length,
  });
})</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The shipped report, with stand-ins for the tables that are not shipped."""
    folder = tmp_path_factory.mktemp("report") / "gallery"
    shutil.copytree(GALLERY, folder)
    summary = json.loads((folder / "report.json").read_text())
    for name in [one for figure in summary["figures"].values() for one in figure["tables"]]:
        (folder / name).write_text("epoch,loss\n1,2\n")
    path = report.write(folder)
    path.write_text(path.read_text().replace("</body>", PROBE))
    return path


CARD_PROBE = """<script>addEventListener("load", () => {
  document.title = JSON.stringify({
    questions: document.querySelectorAll("section h2").length,
    wider: document.documentElement.scrollWidth > innerWidth,
    nameless: [...document.images].filter((image) => !image.alt).length,
  });
})</script></body>"""


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
    path = card.write(made.to_json(), tmp_path_factory.mktemp("card"))
    path.write_text(path.read_text().replace("</body>", CARD_PROBE))
    return path


def chromium(page: Path, *options: str) -> str:
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", *options]
    command += ["--virtual-time-budget=4000", f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def seen(page: Path, width: int) -> dict:
    """What the probe of a page found in a window of this width."""
    shown = chromium(page, "--dump-dom", f"--window-size={width},900")
    return json.loads(re.search(r"<title>(.*?)</title>", shown).group(1))


@pytest.mark.parametrize("width", [500, 1200])
def test_the_report_fits_sorts_and_can_be_reached_by_keyboard(page, width):
    assert seen(page, width) == {
        "buttons": 4,
        "sorted": True,
        "focus": True,
        "wider": False,
        "nameless": 0,
        "silent": 0,
    }


@pytest.mark.parametrize("width", [500, 1200])
def test_the_card_fits(card_page, width):
    wanted = {"questions": len(QUESTIONS) + 1, "wider": False, "nameless": 0}
    assert seen(card_page, width) == wanted


def test_both_can_be_printed(page, card_page, tmp_path):
    """On sheets of paper, the card on few of them."""
    sheets = []
    for each in (page, card_page):
        file = tmp_path / f"{each.stem}.pdf"
        chromium(each, f"--print-to-pdf={file}")
        sheets.append(len(re.findall(rb"/Type\s*/Page\b", file.read_bytes())))
    assert sheets[0] > 2
    assert 1 <= sheets[1] <= 4
