"""``python -m paper_repro``: the paper's figures and claims, all or some of them.

``publish`` and ``oracles`` in the place of figures are commands of their own. Exit codes:
``experiments.command``.
"""

import dataclasses
import json
import sys

from experiments import command
from experiments.command import Command
from paper_repro.job import IMAGE_SIZES, Job

COMMANDS = {
    "theory": Command(
        "paper_repro.papers:publish_and_say",
        "put finished predictions of papers into docs/theory.md",
        "theory",
    ),
    "publish": Command(
        "paper_repro.publish:publish_and_say",
        "put a finished result into the READMEs",
        "publish runs/report-laptop",
    ),
    "oracles": Command(
        "paper_repro.oracles:draw_and_say",
        "what noise leaves to be known, exactly",
        "oracles --study.num-sequences 500",
    ),
}
"""What is not about networks."""

PROGRAM = "python -m paper_repro"


def main() -> None:
    """Do what the command line says."""
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        command.choose(PROGRAM, COMMANDS)
    else:
        command.run(Job, _do, example=f"{PROGRAM} 4a --sizes middle")


def _do(job: Job) -> None:
    from experiments.runtime import prepare

    prepare(job.root)
    if job.paper:
        from paper_repro import papers

        if job.show_list:
            print(papers.listing(job.paper))
        else:
            print(papers.make(job.paper, job.root, job.seed))
        return
    from figures.figure import all_figures, figure_named
    from paper_repro.protocol import figures_without_images

    for name in job.figures:
        figure_named(name)
    _check_images(job)
    offered = tuple(all_figures()) if job.images else figures_without_images(job.scale)
    job = dataclasses.replace(job, figures=job.figures or offered)
    if job.show_list:
        from paper_repro.listing import as_text

        print(as_text(job))
    elif job.splits or job.seeds:
        _train_members(job)
    else:
        _reproduce(job)


def _check_images(job: Job) -> None:
    """Refuse to train networks on the paper's images where none are given."""
    from figures.figure import figure_named
    from hiermodel.checks import require
    from paper_repro.protocol import figures_of, figures_without_images, protocol

    scale = protocol(job.scale, job.network)
    only_trains = bool(job.splits or job.seeds)
    offered = set(figures_of(scale))
    named = offered if only_trains else offered & set(map(figure_named, job.figures))
    needing = sorted(named - set(figures_without_images(job.scale)))
    images = {*IMAGE_SIZES} & set(scale.sizes)
    runs = not (job.show_list or job.draw_only) and set(job.sizes) & images
    allowed = f"given for figures {needing}, or --sizes without {list(IMAGE_SIZES)}"
    require(not (needing and runs) or job.images is not None, "images", None, allowed)


def _train_members(job: Job) -> None:
    from experiments.runs.training import train_run
    from paper_repro.protocol import scale_of

    scale = scale_of(job)
    for size in [each for each in scale.sizes if each in job.sizes]:
        run = scale.sizes[size].run
        splits = _range("splits", job.splits, run.num_splits)
        seeds = _range("seeds", job.seeds, run.num_seeds)
        train_run(run, job.root, splits=splits, seeds=seeds, progress=job.progress)
        print(f"trained: {size}, splits {job.splits}, seeds {job.seeds}")


def _range(name: str, text: str | None, count: int) -> range | None:
    """Numbers from a to b − 1 for "a:b"; None for None, which means all."""
    if text is None:
        return None
    from hiermodel.checks import require

    begin, colon, end = text.partition(":")
    is_range = bool(colon and begin.isdecimal() and end.isdecimal())
    allowed = f"two numbers a:b with 0 ≤ a < b ≤ {count}"
    require(is_range and int(begin) < int(end) <= count, name, text, allowed)
    return range(int(begin), int(end))


def _reproduce(job: Job) -> None:
    from figures.report import claims_as_text
    from paper_repro.reproduce import reproduce

    folder = reproduce(job)
    summary = folder / "report.json"
    if not summary.exists():
        print("nothing to draw: no stage of these figures is finished")
        return
    print(claims_as_text(json.loads(summary.read_text())["claims"]))
    print(f"\nreport: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
