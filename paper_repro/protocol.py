"""Settings of the reproduction: one ensemble per training-set size, at every scale.

``paper`` holds the paper's numbers (science.md#training, #measures, #figures); the other scales say
what they reduce. Which ensembles and stages a figure needs stands in its file in ``figures``.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.configs import Protocol, RunConfig
from experiments.laptop import BASE, TRANSFORMER
from experiments.stages.along_time import AlongTimeConfig
from experiments.stages.decomposition import DecompositionConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.levels import LevelsConfig
from experiments.stages.u_turns import RandomUTurnConfig, UTurnConfig
from experiments.worlds.grammar import GrammarConfig
from experiments.worlds.registry import world_of
from figures.figure import all_figures
from hiermodel.checks import require
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.training.state import TrainingConfig
from paper_repro import images
from paper_repro.job import FRESH, SEEDS, SIZES, TRANSFORMERS, Job

MAIN_SIZES = ("middle", "images")
"""Runs whose claims need not say which they are of; those of all others begin with it."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """One scale of the whole reproduction.

    Attributes:
        name: smoke, laptop, desk or paper.
        purpose: what it is for, and what is reduced by which factor.
        sizes: the settings by training-set size or kind of run, in the order of ``job.ALL_SIZES``.
    """

    name: str
    purpose: str
    sizes: Mapping[str, Protocol]

    def with_seed(self, seed: int | None) -> "Scale":
        """The same with other data, initial values and noise; unchanged for None.

        Raises:
            ValueError: for a negative seed.
        """
        if seed is None:
            return self
        require(seed >= 0, "seed", seed, "at least 0")
        sizes = {size: _with_run(own, seed=seed) for size, own in self.sizes.items()}
        return dataclasses.replace(self, sizes=sizes)

    def with_images(self, path: Path | None, root: Path, *, progress: bool = True) -> "Scale":
        """The same with the images of a folder or file in place of its own; unchanged for None.

        Raises:
            ValueError: as ``ImageWorld.with_files``.
        """
        if path is None:
            return self
        sizes = {
            size: dataclasses.replace(
                own, run=world_of(own.run).with_files(own.run, path, root, progress=progress)
            )
            for size, own in self.sizes.items()
        }
        return dataclasses.replace(self, sizes=sizes)


def _with_run(own: Protocol, *, num_epochs: int | None = None, **changes: Any) -> Protocol:
    if num_epochs is not None:
        changes["training"] = dataclasses.replace(own.run.training, num_epochs=num_epochs)
    return dataclasses.replace(own, run=dataclasses.replace(own.run, **changes))


def _labelled(label: str, own: Protocol) -> Protocol:
    return dataclasses.replace(own, label=label)


def smoke() -> Scale:
    """Every part once; its numbers mean nothing."""
    middle = Protocol(
        run=RunConfig(
            data=GrammarConfig(depth=2),
            network=TransformerConfig(
                num_leaves=4, vocab_size=6, width=16, num_layers=1, num_heads=2, dropout=0.1
            ),
            training=TrainingConfig(num_epochs=40, batch_size=32, learning_rate=3e-3),
            num_splits=2,
            num_seeds=2,
            split_size=48,
            test_size=64,
            num_steps=40,
            first_checkpoint=4,
            num_checkpoints=4,
        ),
        # No more sequences than the small sets hold: the same compiled programs for every size.
        stages={
            "evaluation": EvaluationConfig(num_examples=32, num_noises=2, num_loss_noises=2),
            "samples": SamplesConfig(num_samples=64),
            "comparison": ComparisonConfig(num_floor_repeats=4),
            "decomposition": DecompositionConfig(num_sequences=32, num_noises=2),
            "along_time": AlongTimeConfig(num_sequences=32, stride=4),
            "u_turns": UTurnConfig(num_sequences=32, num_noises=2),
            "random_u_turns": RandomUTurnConfig(num_sequences=32),
            "levels": LevelsConfig(num_permutations=100),
        },
    )
    small = _with_run(middle, split_size=32)
    return Scale(
        "smoke",
        "A test of the machinery in about a minute; its numbers mean nothing.",
        {
            "small": small,
            "middle": middle,
            "large": _with_run(middle, split_size=64),
            FRESH: _with_run(middle, num_splits=4, num_seeds=1, fresh=True),
            SEEDS: _labelled("two seeds", middle),  # it has two networks on each training set
            **{name: _labelled(name, small) for name in TRANSFORMERS},
            **images.smoke(),
        },
    )


def laptop() -> Scale:
    """The paper's grammar at its full depth, learned by a network of its shape, on 2 cores.

    A tree U-Net, whose weights can carry out belief propagation, comes near the exact denoiser in
    minutes. The rate is constant and what is measured is a running average of the weights, so that
    no time depends on the length of a schedule. Eight training sets of each size are eight units,
    or four disjoint pairs. Settings were chosen on seeds from 1000.
    """
    middle = _tree(split_size=320, num_epochs=1400, first_checkpoint=16)
    return Scale(
        "laptop",
        "The phenomenon on a laptop, with the paper's own grammar: n = 160, 320, 1280 for 5k, 12k, "
        "70k; 8 training sets for 15; a tree U-Net of width 64 for the transformer; 3200, 7000, "
        "39 000 steps of Adam at 2e-3, batch 64; measured on a running average of the weights "
        "(decay 0.998); T = 60 for 500; 400 test sequences × 2 noises for 3000 × 5; 1000 samples "
        "for 50k; U-turns 100 × 10 for 1000 × 100. t/T as in the paper. make repro makes those of "
        "the middle size.",
        {
            "small": _with_run(middle, split_size=160, num_epochs=1067, first_checkpoint=16),
            "middle": middle,
            "large": _with_run(
                middle, split_size=1280, num_epochs=1959, first_checkpoint=5, num_checkpoints=21
            ),
            FRESH: _with_run(middle, fresh=True),
            SEEDS: _labelled("two seeds", _with_run(middle, num_splits=2, num_seeds=2)),
            **images.laptop(),
        },
    )


def desk() -> Scale:
    """The main result: training sets up to the paper's own small size, in an evening on 2 cores.

    As on the laptop, with more data, longer. Settings were chosen on seed 1000.
    """
    decays = {"ema_decays": (0.998, 0.999)}

    def size(split_size: int, num_epochs: int, first_checkpoint: int, count: int) -> Protocol:
        own = _tree(split_size, num_epochs, first_checkpoint)
        training = dataclasses.replace(own.run.training, **decays)
        return _with_run(own, num_splits=6, num_checkpoints=count, training=training, seed=2)

    small = size(500, num_epochs=1700, first_checkpoint=12, count=20)
    middle = size(1600, num_epochs=2988, first_checkpoint=8, count=22)
    return Scale(
        "desk",
        "An evening on 2 cores, with the paper's own grammar and small size: n = 500, 1600, 5000; "
        "6 training sets; a tree U-Net of width 64; measured on running averages of the weights "
        "(decays 0.998 and, as a check, 0.999); T = 60 for 500. All else as at laptop scale.",
        {
            "small": small,
            "middle": middle,
            "large": size(5000, num_epochs=6327, first_checkpoint=5, count=24),
            FRESH: _with_run(middle, num_splits=4, fresh=True),
            SEEDS: _labelled("two seeds", _with_run(middle, num_splits=2, num_seeds=2)),
            **_transformers(small),
        },
    )


def _transformers(tree: Protocol) -> dict[str, Protocol]:
    """Transformers on the training sets of a tree U-Net, without dropout and with.

    They are trained longer, at the same rate: their checkpoints begin with those of the tree. With
    dropout the test loss is lowest later.
    """
    without, with_dropout = TRANSFORMERS
    settings = {
        without: ("transformer", 0.0, 2863, 22),
        with_dropout: ("transformer, dropout 0.1", 0.1, 4823, 24),
    }
    return {
        name: _labelled(
            label,
            _with_run(
                tree,
                network=dataclasses.replace(TRANSFORMER, dropout=dropout),
                num_epochs=num_epochs,
                num_checkpoints=count,
            ),
        )
        for name, (label, dropout, num_epochs, count) in settings.items()
    }


def _constant_rate(num_epochs: int) -> TrainingConfig:
    """How tree U-Nets are trained: no schedule, so that no time depends on the length of one."""
    return dataclasses.replace(BASE.training, num_epochs=num_epochs)


def _tree(split_size: int, num_epochs: int, first_checkpoint: int) -> Protocol:
    """Eight tree U-Nets on the paper's grammar, and how they are measured."""
    data = GrammarConfig()
    return Protocol(
        run=RunConfig(
            data=data,
            network=TreeUNetConfig(
                depth=data.depth, branching=data.branching, vocab_size=data.vocab_size, width=64
            ),
            training=_constant_rate(num_epochs),
            num_splits=8,
            num_seeds=1,
            split_size=split_size,
            test_size=2000,
            num_steps=60,
            first_checkpoint=first_checkpoint,
            num_checkpoints=18,
            seed=1,
        ),
        stages={
            "evaluation": EvaluationConfig(num_examples=400, num_noises=2, num_loss_noises=4),
            "samples": SamplesConfig(num_samples=1000, every=2),
            "decomposition": DecompositionConfig(num_sequences=400, num_noises=2),
            "along_time": AlongTimeConfig(num_sequences=300),
            "u_turns": UTurnConfig(num_sequences=100, num_noises=10),
            "random_u_turns": RandomUTurnConfig(num_sequences=200),
            "levels": LevelsConfig(num_permutations=1000),
        },
    )


def paper(network: str | None = None) -> Scale:
    """The paper's numbers: for GPUs or TPUs.

    With ``network="tree"`` the paper's data and measures, but a tree U-Net, trained as at the
    smaller scales: its lowest test loss comes after about 1000 epochs whatever n is.
    """
    require(network in (None, "tree"), "network", network, "None or 'tree' at paper scale")
    data = GrammarConfig()
    tree = TreeUNetConfig(data.depth, data.branching, data.vocab_size, width=128)

    def size(split_size: int, num_epochs: int) -> Protocol:
        transformer = TransformerConfig(num_leaves=16, vocab_size=6)
        return Protocol(
            run=RunConfig(
                data=data,
                network=tree if network == "tree" else transformer,
                training=_constant_rate(1700) if network else TrainingConfig(num_epochs=num_epochs),
                num_splits=15,
                num_seeds=2,
                split_size=split_size,
                test_size=3000,
                num_steps=500,
                first_checkpoint=100,
                num_checkpoints=25,
            ),
            stages={},
        )

    return Scale(
        "paper",
        "The paper's own protocol.",
        {
            "small": size(5000, 20_000),
            "middle": size(12_000, 30_000),
            "large": size(70_000, 35_000),
            FRESH: _with_run(size(12_000, 30_000), fresh=True),
            **images.paper(),
        },
    )


SCALES = {"smoke": smoke, "laptop": laptop, "desk": desk, "paper": paper}


def figures_of(scale: Scale) -> tuple[str, ...]:
    """Figures that can be made at a scale: it has all their runs."""
    known = all_figures().items()
    return tuple(name for name, spec in known if set(spec.sizes) <= set(scale.sizes))


def figures_without_images(scale: str) -> tuple[str, ...]:
    """Figures that can be made where no images are given: those whose data are all there."""
    sizes = protocol(scale).sizes
    missing = {size for size, own in sizes.items() if world_of(own.run).missing(own.run.data)}
    known = all_figures()
    return tuple(
        name for name in figures_of(protocol(scale)) if not set(known[name].sizes) & missing
    )


def quick() -> tuple[str, ...]:
    """Figures that the middle size alone can show: what ``make repro`` makes."""
    return tuple(
        name
        for name, spec in all_figures().items()
        if "middle" in spec.sizes and set(spec.sizes) <= set(SIZES)
    )


def protocol(scale: str, network: str | None = None) -> Scale:
    """The settings of a scale.

    Args:
        scale: its name.
        network: "tree" for tree U-Nets in place of the paper's transformer; None for the scale's
            own.

    Raises:
        ValueError: for a scale that does not exist, or has no other network.
    """
    require(scale in SCALES, "scale", scale, f"one of {sorted(SCALES)}")
    if scale == "paper":
        return paper(network)
    require(network is None, "network", network, f"None at {scale} scale")
    return SCALES[scale]()


def scale_of(job: Job) -> Scale:
    """The settings that a job is made with.

    Raises:
        ValueError: for an unknown scale, a network it has not, a negative seed, or images that
            cannot be read.
    """
    scale = protocol(job.scale, job.network).with_seed(job.seed)
    return scale.with_images(job.images, job.root, progress=job.progress)
