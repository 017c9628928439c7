"""Every figure at smoke scale, end to end, as a newcomer makes it."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from experiments.store import load_measurements
from figures.figure import all_figures
from paper_repro import reproduce as reproducing
from paper_repro.gallery import copy_report, page_text
from paper_repro.job import TRANSFORMERS, Job
from paper_repro.protocol import protocol, quick
from paper_repro.reproduce import reproduce

FIGURES = all_figures()

STAGES = {
    "train",
    "evaluation",
    "samples",
    "comparison",
    "decomposition",
    "along_time",
    "u_turns",
    "random_u_turns",
    "levels",
    "refitted",
    "spread",
    "examination",
}


def made(root: Path, **options) -> Path:
    """The folder of the report of a smoke job."""
    return reproduce(Job(scale="smoke", root=root, progress=False, **options))


def report_of(root) -> dict:
    return json.loads((root / "report-smoke" / "report.json").read_text())


@pytest.mark.long
def test_one_command_makes_every_figure(smoke):
    root, printed = smoke
    assert "report: runs/report-smoke/report.html" in printed
    summary = report_of(root)
    assert list(summary["figures"]) == list(FIGURES)
    assert {figure["state"] for figure in summary["figures"].values()} == {"finished"}
    assert all(claim["statement"] in printed for claim in summary["claims"])
    assert set(summary["runs"]["middle"]["seconds"]) == STAGES
    for figure in summary["figures"].values():
        for picture in figure["pictures"]:
            assert (root / "report-smoke" / picture["png"]).read_bytes().startswith(b"\x89PNG")
            assert (root / "report-smoke" / picture["pdf"]).read_bytes().startswith(b"%PDF")
        for name in (*figure["data"], *figure["tables"]):
            assert (root / "report-smoke" / name).stat().st_size > 0


@pytest.mark.long
def test_every_row_of_claims_is_tested(smoke):
    root, _ = smoke
    claims = report_of(root)["claims"]
    names = [claim["name"] for claim in claims]
    assert len(set(names)) == len(names)
    tested = {figure: {c["name"] for c in claims if c["figure"] == figure} for figure in FIGURES}
    assert {"order-2-1", "split-before-fit", "excess-before-fit", "data-not-seed"} <= tested["1b"]
    assert {"peak-1", "peak-2", "peak-model-small", "peak-model-large"} <= tested["3b"]
    whole = {"neighbour-before-test", "gap-at-test", "gap-beyond-refitted", "copies-own"}
    whole |= {"u-turns-coincide", "u-turns-separate", "u-turns-part"}
    assert whole | {f"{name}-large" for name in whole} <= tested["4a"]
    assert {"bias-grows-small-middle", "test-grows-middle-large"} <= tested["4a"]
    assert {"distillation-falls", "excess-falls", "excess-falls-all"} <= tested["4b"]
    assert {"dependence-0", "dependence-1", "dependence-2"} <= tested["levels"]  # all levels
    assert {"order-1-0-small", "data-not-seed-large"} <= tested["1b"]
    assert {"alike-before-test", "image-gap-at-test", "not-yet-memorised"} <= tested["1a"]
    assert {"cosine-before-test-0.1", "cosine-falls-0.1"} <= tested["2"]
    assert {"alike-before-test-images_haar", "alike-before-test-images_pca"} <= tested["1a"]
    for claim in claims:
        if claim["figure"] == "3b" and claim["name"] in ("peak-1", "peak-2"):
            assert claim["verdict"] in ("shown", "not shown", "contradicted")  # over sequences
        else:  # two training sets, and four of images, which are two pairs
            assert claim["verdict"] == "too few training sets" or len(claim["values"]) >= 4
        if len(claim["values"]) == 1 and claim["low"] is None:
            assert claim["high"] is None
        else:
            assert claim["low"] <= claim["estimate"] <= claim["high"]


class Links(HTMLParser):
    """Tags that are left open, ids, and what a page points to."""

    VOID = ("meta", "img", "br")

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            if name in ("href", "src"):
                self.targets.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.long
def test_report_is_whole_and_needs_no_network(smoke):
    root, _ = smoke
    folder = root / "report-smoke"
    page = (folder / "report.html").read_text()
    links = Links()
    links.feed(page)
    assert not links.open
    assert page.count('src="data:image/png;base64,') == len(FIGURES)
    for target in links.targets:
        if target.startswith("#"):
            assert target[1:] in links.ids
        elif not target.startswith("data:"):
            assert (folder / target).exists(), target
    for wanted in ("jaxlib", "own–other gap", "verdict", "python -m paper_repro 4b"):
        assert wanted in page


@pytest.mark.long
def test_measurements_have_named_dimensions(smoke):
    root, _ = smoke
    evaluation = load_measurements(root / "report-smoke" / "middle-evaluation.npz")
    settings = protocol("smoke").sizes["middle"].run
    num_members = settings.num_splits * settings.num_seeds
    oracle = evaluation["model_oracle"]
    assert oracle.dims == ("checkpoint", "member", "set", "level")
    assert oracle.values.shape[1:] == (num_members, 2, settings.data.depth + 1)
    assert np.isfinite(oracle.values).all()
    # The exact denoiser is the best there is, up to the sampling error of the test inputs.
    excess = evaluation["loss"].values[..., 1] - evaluation["loss_floor"].values[:, 1]
    assert (excess > -0.02).all()
    comparison = load_measurements(root / "report-smoke" / "middle-comparison.npz")
    assert (comparison["validity"].values[..., -1] == 1).all()


@pytest.mark.long
def test_runs_on_images_have_the_same_stages(smoke):
    root, _ = smoke
    comparison = load_measurements(root / "report-smoke" / "images-comparison.npz")
    evaluation = load_measurements(root / "report-smoke" / "images-evaluation.npz")
    own = protocol("smoke").sizes["images"].run
    num_checkpoints = len(evaluation["epoch"].values)
    assert evaluation["loss"].values.shape == (num_checkpoints, 4, 2)
    assert evaluation["sample_split"].dims == ("checkpoint", "pair", "set", "noise_level")
    assert comparison["dissimilarity"].values.shape == (num_checkpoints, 2)
    assert comparison["pictures"].values.shape == (num_checkpoints, 2, 8, 8, 8, 1)
    # Untrained networks predict no noise: a loss of 1, and the same samples from the same noise.
    assert np.abs(evaluation["loss"].values[0] - 1).max() < 5 * np.sqrt(2 / (32 * 64))
    assert np.abs(comparison["dissimilarity"].values[0]).max() < 1e-5
    assert (own.num_splits, own.num_seeds) == (2, 2)


@pytest.mark.long
def test_one_figure_renews_the_report_without_running_anything_again(smoke, run_python):
    root, _ = smoke
    files = {path: path.stat().st_mtime_ns for path in root.glob("*/measurements/*.npz")}
    checkpoints = {p: p.stat().st_mtime_ns for p in root.glob("members/*/params-*")}
    drawn = {path: path.stat().st_mtime_ns for path in root.glob("report-smoke/*.png")}
    before = report_of(root)
    run_python(root.parent, "-m", "paper_repro", "4b", "--scale", "smoke")
    assert files
    assert files == {path: path.stat().st_mtime_ns for path in files}
    assert checkpoints == {path: path.stat().st_mtime_ns for path in checkpoints}
    renewed = {path.name for path in drawn if path.stat().st_mtime_ns != drawn[path]}
    assert renewed == {"figure_4b.png"}
    assert report_of(root) == before


@pytest.mark.long
def test_what_is_not_finished_is_left_out_and_said(smoke, tmp_path):
    """Without the large sets, and without one stage of the small ones."""
    root, _ = smoke
    runs = report_of(root)["runs"]
    for size in ("small", "middle"):
        name = runs[size]["identity"][:16]
        shutil.copytree(root / name, tmp_path / name)
    (missing,) = (tmp_path / runs["small"]["identity"][:16]).glob("measurements/u_turns-*.npz")
    missing.unlink()
    figures = ("3b", "6", "9", "10")  # of the paper's, parts of 1b and 4a here
    folder = made(tmp_path, figures=figures, draw_only=True)
    shown = json.loads((folder / "report.json").read_text())["figures"]
    assert {name: figure["state"] for name, figure in shown.items()} == {
        "1b": "partial: 2 of 3 stages",
        "3b": "partial: 2 of 3 stages",
        "4a": "partial: 9 of 15 stages",
    }
    assert "partial: 9 of 15 stages" in (folder / "report.html").read_text()
    assert not (tmp_path / runs["large"]["identity"][:16]).exists()


@pytest.mark.long
def test_figures_of_an_older_report_that_are_no_more_are_left_out(smoke, tmp_path):
    root, _ = smoke
    name = report_of(root)["runs"]["middle"]["identity"][:16]
    shutil.copytree(root / name, tmp_path / name)
    folder = made(tmp_path, figures=("4b",), draw_only=True)
    report = json.loads((folder / "report.json").read_text())
    report["figures"] |= {"99": report["figures"]["4b"], "5": {"title": "before identities"}}
    (folder / "report.json").write_text(json.dumps(report))
    made(tmp_path, figures=("4b",), draw_only=True)
    assert list(json.loads((folder / "report.json").read_text())["figures"]) == ["4b"]


@pytest.mark.long
def test_list_says_what_is_finished(smoke, run_python):
    root, _ = smoke
    listed = run_python(root.parent, "-m", "paper_repro", "--scale", "smoke", "--list")
    assert listed.count("state    finished") == len(FIGURES)
    assert listed.count("(measured)") == len(FIGURES) + 2
    fresh = run_python(root.parent, "-m", "paper_repro", "4b", "--list", "--root", "nowhere")
    assert "state    not started" in fresh
    assert "python -m paper_repro 4b --scale laptop" in fresh
    assert "(estimated)" in fresh
    assert not list((root.parent / "nowhere").glob("*/config.json"))


def counted(monkeypatch) -> dict[str, list]:
    """What is trained, measured and written from now on."""
    calls = {"train": [], "measure": [], "write": []}
    train, measure, write = reproducing.train_run, reproducing.measure_run, reproducing.report.write

    def counting(name, function):
        def call(*arguments, **options):
            calls[name].append(arguments[0])
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(reproducing, "train_run", counting("train", train))
    monkeypatch.setattr(reproducing, "measure_run", counting("measure", measure))
    monkeypatch.setattr(reproducing.report, "write", counting("write", write))
    return calls


@pytest.mark.long
def test_every_run_is_trained_and_measured_once(smoke, monkeypatch):
    """All figures together: one call for each run, and one page."""
    root, _ = smoke
    calls = counted(monkeypatch)
    made(root, figures=("1b", "4a", "4b", "fresh", "1a", "2"))
    sizes = protocol("smoke").sizes
    shown = [own for size, own in sizes.items() if size not in ("seeds", *TRANSFORMERS)]
    assert calls["train"] == [own.run for own in shown]
    assert calls["measure"] == shown
    assert len(calls["write"]) == 1


def test_the_main_job_makes_its_figures_from_one_run(tmp_path, monkeypatch, capsys):
    """What ``make repro`` does, at smoke scale: one size is trained, measured and drawn, once."""
    calls = counted(monkeypatch)
    folder = made(tmp_path, figures=quick(), sizes=("middle",))
    middle = protocol("smoke").sizes["middle"]
    assert (calls["train"], calls["measure"]) == ([middle.run], [middle])
    assert len(calls["write"]) == 1
    report = json.loads((folder / "report.json").read_text())
    assert set(report["figures"]) == set(quick())
    for figure in report["figures"].values():
        for picture in figure["pictures"]:
            assert (folder / picture["png"]).read_bytes().startswith(b"\x89PNG")
    assert report["claims"]
    page = (folder / "report.html").read_text()
    assert all(figure["title"] in page for figure in report["figures"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"figures": ("8",)}, r"figures='8'.*levels"),
        ({"sizes": ("huge",)}, r"sizes='huge'.*middle"),
        ({"seed": -1}, r"seed=-1.*at least 0"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **arguments)


def write_old_report(gallery: Path) -> None:
    picture = {"png": "figure_old.png", "pdf": "figure_old.pdf"}
    claims = [
        {"figure": "old", "statement": "an old claim"},
        {"figure": "levels", "statement": "?"},
    ]
    figures = {"old": {"pictures": [picture]}}
    report = {"scale": "smoke", "figures": figures, "claims": claims, "runs": {"old": {}}}
    (gallery / "report.json").write_text(json.dumps(report))
    for name in (*picture.values(), "figure_other.png"):
        (gallery / name).touch()


@pytest.mark.long
def test_a_report_can_be_shown(smoke, tmp_path):
    """With its primary claims on every seed in one table, each in a column of its own."""
    root, _ = smoke
    summary = copy_report(root / "report-smoke", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"report.json", "figure_levels.png", "figure_4a.pdf"} <= names
    again = tmp_path / "again"
    again.mkdir()
    of_seed = summary | {"seed": 7}
    for run in of_seed["runs"].values():
        run["settings"]["run"]["seed"] = 7
    (again / "report.json").write_text(json.dumps(of_seed))
    copy_report(again, tmp_path)
    text = page_text(tmp_path)
    assert all(claim["statement"] in text for claim in summary["claims"])
    assert "n = 32: " in text
    (head,) = (line for line in text.splitlines() if line.startswith("| primary claim"))
    assert [cell.strip() for cell in head.split("|")[2:-1]] == [
        f"smoke, n = {n}, seed {seed}" for seed in (0, 7) for n in (32, 48, 64)
    ]
    row = next(line for line in text.splitlines() if line.startswith("| derivable samples move"))
    assert row.count("too few training sets") == 6


@pytest.mark.long
def test_a_report_is_added_to_figures_of_the_same_scale(smoke, tmp_path):
    """A figure that it holds replaces the old one with its claims; others stay with theirs."""
    root, _ = smoke
    write_old_report(tmp_path)
    summary = copy_report(root / "report-smoke", tmp_path)
    assert (tmp_path / "figure_old.png").exists()
    assert {"old", "levels", "4a"} <= set(summary["figures"])
    assert {"old", "middle"} <= set(summary["runs"])
    statements = [claim["statement"] for claim in summary["claims"]]
    assert "an old claim" in statements
    assert "?" not in statements
    shown = json.loads((tmp_path / "report.json").read_text())
    assert shown["claims"] == summary["claims"]


@pytest.mark.long
def test_the_parts_of_the_spread_add_up_to_the_divergence_from_the_exact_denoiser(smoke):
    root, _ = smoke
    spread = load_measurements(root / "report-smoke" / "seeds-spread.npz")
    evaluation = load_measurements(root / "report-smoke" / "middle-evaluation.npz")  # the same run
    total = evaluation["model_oracle"].values[:, :, 1, 0].mean(1)
    parts = [spread[name].values for name in ("common", "by_set", "by_seed")]
    np.testing.assert_allclose(sum(parts), total, rtol=1e-4)
    assert all((part[1:] > 0).all() for part in parts)
