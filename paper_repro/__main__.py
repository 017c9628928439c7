"""``python -m paper_repro``: the paper's figures and claims, all or some of them.

``publish`` and ``oracles`` in the place of figures are commands of their own. Exit codes:
``experiments.command``.
"""

import dataclasses
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from experiments import command
from experiments.command import Command

if TYPE_CHECKING:
    from paper_repro.protocol import Scale


Size = Literal[
    "small",
    "middle",
    "large",
    "fresh",
    "seeds",
    "transformer",
    "transformer_dropout",
    "images",
    "images_haar",
    "images_pca",
]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train, measure, test the paper's claims and write a report; go on where it stopped.

    `publish` in the place of figures puts a finished report into the project, `oracles` draws what
    noise leaves to be known, without any training.

    Attributes:
        figures: which ones, such as 4b; all if none is named.
        paper: predictions of other papers, by arXiv number, a family's name or "all", set beside
            exact inference in place of figures; no training.
        scale: smoke (a minute, meaningless numbers), laptop (half an hour), desk (an evening) or
            paper (GPU or TPU).
        show_list: say what each figure shows, needs and costs and what is finished; run nothing.
        draw_only: draw what is finished, however little; run nothing.
        sizes: runs to make; figures show others as far as they are finished.
        images: pictures of your own, a folder or a .npy or .npz file, in place of the digits; the
            paper's scale needs CelebA's folder img_align_celeba for figures 1a, 2 and 7.
        network: tree, at paper scale, for tree U-Nets in place of the paper's transformer.
        splits: a:b, only train the members of splits a to b − 1, as one of several jobs.
        seeds: a:b, likewise for seeds.
        root: where run folders and reports go.
        seed: other data, initial values and noise than the protocol's.
        progress: show progress bars.
    """

    figures: tyro.conf.Positional[tuple[str, ...]] = ()
    paper: tuple[str, ...] = ()
    scale: Literal["smoke", "laptop", "desk", "paper"] = "laptop"
    show_list: Annotated[bool, tyro.conf.arg(name="list")] = False
    draw_only: bool = False
    sizes: tuple[Size, ...] = get_args(Size)
    images: Path | None = None
    network: Literal["tree"] | None = None
    splits: str | None = None
    seeds: str | None = None
    root: Path = Path("runs")
    seed: int | None = None
    progress: bool = True


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
        command.run(Arguments, _do, example=f"{PROGRAM} 4a --sizes middle")


def _do(arguments: Arguments) -> None:
    from experiments.runtime import prepare

    prepare(arguments.root)
    if arguments.paper:
        from paper_repro import papers

        if arguments.show_list:
            print(papers.listing(arguments.paper))
        else:
            print(papers.make(arguments.paper, arguments.root, arguments.seed))
        return
    from figures.figure import all_figures, figure_named
    from paper_repro.protocol import figures_without_images

    for name in arguments.figures:
        figure_named(name)
    _check_images(arguments)
    without = figures_without_images(arguments.scale)
    everything = tuple(all_figures()) if arguments.images else without
    figures = arguments.figures or everything
    if arguments.show_list:
        _list(arguments, figures)
    elif arguments.splits or arguments.seeds:
        _train_members(arguments)
    else:
        _reproduce(arguments, figures)


def _check_images(arguments: Arguments) -> None:
    """Refuse to train networks on the paper's images where none are given."""
    from figures.figure import figure_named
    from hiermodel.checks import require
    from paper_repro.protocol import IMAGE_SIZES, figures_of, figures_without_images, protocol

    scale = protocol(arguments.scale, arguments.network)
    only_trains = bool(arguments.splits or arguments.seeds)
    offered = set(figures_of(scale))
    named = offered if only_trains else offered & set(map(figure_named, arguments.figures))
    needing = sorted(named - set(figures_without_images(arguments.scale)))
    images = {*IMAGE_SIZES} & set(scale.sizes)
    runs = not (arguments.show_list or arguments.draw_only) and set(arguments.sizes) & images
    allowed = f"given for figures {needing}, or --sizes without {list(IMAGE_SIZES)}"
    require(not (needing and runs) or arguments.images is not None, "images", None, allowed)


def _scale(arguments: Arguments) -> "Scale":
    from paper_repro.protocol import protocol

    scale = protocol(arguments.scale, arguments.network).with_seed(arguments.seed)
    return scale.with_images(arguments.images, arguments.root, progress=arguments.progress)


def _list(arguments: Arguments, figures: Collection[str]) -> None:
    from paper_repro.listing import as_text

    scale = _scale(arguments)
    print(as_text(scale, figures, arguments.sizes, arguments.root))


def _train_members(arguments: Arguments) -> None:
    from experiments.runs.training import train_run

    scale = _scale(arguments)
    for size in [each for each in scale.sizes if each in arguments.sizes]:
        run = scale.sizes[size].run
        splits = _range("splits", arguments.splits, run.num_splits)
        seeds = _range("seeds", arguments.seeds, run.num_seeds)
        train_run(run, arguments.root, splits=splits, seeds=seeds, progress=arguments.progress)
        print(f"trained: {size}, splits {arguments.splits}, seeds {arguments.seeds}")


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


def _reproduce(arguments: Arguments, figures: Collection[str]) -> None:
    from figures.report import claims_as_text
    from paper_repro.reproduce import reproduce

    folder = reproduce(
        arguments.scale,
        arguments.root,
        figures=figures,
        sizes=arguments.sizes,
        seed=arguments.seed,
        images=arguments.images,
        network=arguments.network,
        compute=not arguments.draw_only,
        progress=arguments.progress,
    )
    summary = folder / "report.json"
    if not summary.exists():
        print("nothing to draw: no stage of these figures is finished")
        return
    print(claims_as_text(json.loads(summary.read_text())["claims"]))
    print(f"\nreport: {folder / 'report.html'}")


if __name__ == "__main__":
    main()
