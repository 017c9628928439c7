"""What can be asked for: the command line of ``python -m paper_repro``, and the names of runs."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

SIZES = ("small", "middle", "large")
"""Training-set sizes: n = 5k, 12k and 70k in the paper."""

IMAGE_SIZES = ("images", "images_haar", "images_pca")
"""The runs on images, by what is left in them: all, or only coarse structure (wavelets, principal
components)."""

FRESH = "fresh"
"""The run that never sees a sequence twice, as long as that of the middle size."""

SEEDS = "seeds"
"""Two training sets of the middle size, two networks on each: what data do, and what seeds."""

TRANSFORMERS = ("transformer", "transformer_dropout")
"""Transformers on the training sets of the small size, without dropout and with."""

ALL_SIZES = (*SIZES, FRESH, SEEDS, *TRANSFORMERS, *IMAGE_SIZES)
"""All runs: those of the controlled model by size or kind, those on images by what is left in
them. Not every scale has all of them."""

if TYPE_CHECKING:
    Size = str
else:  # the command line lists the names
    Size = Literal[ALL_SIZES]


@dataclasses.dataclass(frozen=True)
class Job:
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
    sizes: tuple[Size, ...] = ALL_SIZES
    images: Path | None = None
    network: Literal["tree"] | None = None
    splits: str | None = None
    seeds: str | None = None
    root: Path = Path("runs")
    seed: int | None = None
    progress: bool = True

    def makes(self, size: str) -> bool:
        """Whether a size may be trained and measured; of others, only what is finished counts."""
        return not self.draw_only and size in self.sizes

    @property
    def folder(self) -> Path:
        """Of the report."""
        network = "" if self.network is None else f"-{self.network}"
        seed = "" if self.seed is None else f"-seed-{self.seed}"
        return self.root / f"report-{self.scale}{network}{seed}"

    @property
    def options(self) -> str:
        """What makes this job on the command line, beside the figures."""
        seed = "" if self.seed is None else f" --seed {self.seed}"
        sizes = "" if set(self.sizes) == set(ALL_SIZES) else f" --sizes {' '.join(self.sizes)}"
        images = "" if self.images is None else f" --images {self.images}"
        network = "" if self.network is None else f" --network {self.network}"
        return f"{sizes} --scale {self.scale}{network}{seed}{images}".strip()
