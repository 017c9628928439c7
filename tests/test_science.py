"""What code cites of the science is there."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from hiermodel.measures.onset import locate_minimum
from hiermodel.measures.uncertainty import student_interval

PROJECT = Path(__file__).parents[1]
CITATION = re.compile(r"science\.md((?:,?\s*#[a-z0-9-]+)+)")


def anchors(page: Path) -> list[str]:
    """Names of a page's sections, as links write them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def sources() -> list[Path]:
    folders = ("hiermodel", "experiments", "figures", "paper_repro", "tests", "docs")
    pages = [path for folder in folders for path in (PROJECT / folder).rglob("*.md")]
    code = [path for folder in folders for path in (PROJECT / folder).rglob("*.py")]
    return sorted([*pages, *code, *PROJECT.glob("*.md")])


def cited(text: str) -> list[str]:
    groups = CITATION.findall(text)
    return [name for group in groups for name in re.findall(r"#([a-z0-9-]+)", group)]


def test_every_section_that_is_cited_exists():
    known = anchors(PROJECT / "docs/science.md")
    assert len(set(known)) == len(known)
    number = 0
    for path in sources():
        names = cited(path.read_text())
        number += len(names)
        if path != Path(__file__):
            assert set(names) <= set(known), (path, sorted(set(names) - set(known)))
    assert number > 50


def test_nothing_cites_a_document_that_is_not_here():
    for path in sources():
        assert path == Path(__file__) or not re.search(r"\bSPEC\b", path.read_text()), path


@pytest.mark.parametrize("page", ["science.md", "glossary.md", "notes.md"])
def test_links_of_the_documents_lead_somewhere(page):
    path = PROJECT / "docs" / page
    for target in re.findall(r"\]\(([^)]*)\)", path.read_text()):
        if not target.startswith("https://"):
            name, _, section = target.partition("#")
            place = (path.parent / name).resolve() if name else path
            assert place.exists(), target
            assert not section or section in anchors(place), target


def test_citations_of_several_sections_are_seen():
    assert cited("(science.md#diffusion, #denoisers), science.md#f1.") == [
        "diffusion",
        "denoisers",
        "f1",
    ]


def test_the_notes_show_the_committed_numbers():
    """Ratios of minima of the same networks, measured with two settings."""
    note = (PROJECT / "docs/notes.md").read_text()
    stored = json.loads((PROJECT / "docs/numbers/minima_of_the_same_networks.json").read_text())
    epochs, sampled = np.array(stored["epochs"]), np.array(stored["sampled_epochs"])
    for seed, by_settings in stored["runs"].items():
        for settings, curves in by_settings.items():
            loss = np.array(curves["test_loss"])
            test = locate_minimum(epochs, loss.T).time
            bias = locate_minimum(sampled, np.array(curves["neighbour_divergence"]).T).time
            ratio = student_interval(np.log(test / bias))
            estimate, low, high = np.exp([ratio.estimate, ratio.low, ratio.high])
            times = f"{np.exp(np.log(test).mean()):.0f} | {np.exp(np.log(bias).mean()):.0f}"
            name = f"{seed.removeprefix('seed ')} | {settings.removesuffix(' set_size')}"
            row = f"| {name} | {times} | {estimate:.1f} [{low:.1f}, {high:.1f}] |"
            assert row in note, row
            late = loss[epochs >= 310].mean(1)
            assert np.ptp(late) < 0.007
            assert loss[0].mean() - late.min() > 0.2


def test_the_notes_show_how_far_the_minimum_moves_when_measured_anew():
    """Standard deviation over draws of the mean log-time, pooled over runs and sizes."""
    note = (PROJECT / "docs/notes.md").read_text()
    stored = json.loads((PROJECT / "docs/numbers/test_loss_measured_anew.json").read_text())
    epochs = np.array(stored["epochs"])
    shown = []
    for term in ("cross_entropy", "distillation"):
        variances = []
        for sizes in stored["runs"].values():
            for terms in sizes.values():
                curves = np.moveaxis(np.array(terms[term]), 1, -1)
                times = np.log(locate_minimum(epochs, curves).time).mean(1)
                variances.append(times.var(ddof=1))
        shown.append(f"{100 * np.sqrt(np.mean(variances)):.0f} %")
    words = " ".join(note.split())
    assert f"{shown[0]} by the cross-entropy and {shown[1]} by the distillation term" in words
