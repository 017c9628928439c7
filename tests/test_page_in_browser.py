"""The report as a browser shows it: `make test-page`, which needs Chromium."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from figures import report

pytestmark = pytest.mark.browser

GALLERY = Path(__file__).parents[1] / "figures/gallery"
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
    for claim in summary["claims"]:
        claim.setdefault("primary", False)
        claim.setdefault("corrected_p", None)
    (folder / "report.json").write_text(json.dumps(summary))
    for name in [one for figure in summary["figures"].values() for one in figure["tables"]]:
        (folder / name).write_text("epoch,loss\n1,2\n")
    path = report.write(folder)
    path.write_text(path.read_text().replace("</body>", PROBE))
    return path


@pytest.mark.parametrize("width", [500, 1200])
def test_it_fits_sorts_and_can_be_reached_by_keyboard(page, width):
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--window-size={width},900", "--virtual-time-budget=4000", f"file://{page}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    seen = json.loads(re.search(r"<title>(.*?)</title>", shown).group(1))
    assert seen == {
        "buttons": 4,
        "sorted": True,
        "focus": True,
        "wider": False,
        "nameless": 0,
        "silent": 0,
    }
