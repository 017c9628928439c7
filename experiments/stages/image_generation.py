"""Images drawn by every network along training, compared with each other and with their data."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from experiments.images.configs import image_config
from experiments.spread import map_over_devices
from experiments.stages.evaluation import same_data_pairs, split_pairs
from experiments.stages.generation import in_blocks, plan_drawing, sampled_epochs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import sampling_passes
from experiments.store import Measurement, Measurements
from experiments.train import make_data, run_key
from hiermodel.checks import check_integer, require
from hiermodel.diffusion.corruption import pixels
from hiermodel.diffusion.samplers import sample_ancestral
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.agreement import dissimilarity
from hiermodel.measures.neighbours import nearest_images, own_other_gap
from hiermodel.measures.several_neighbours import neighbour_ratio
from hiermodel.measures.uncertainty import bootstrap_interval
from hiermodel.measures.units import partner_split
from hiermodel.networks.learned import learned_denoiser


@dataclasses.dataclass(frozen=True)
class ImageSamplesConfig:
    """How images are drawn at a checkpoint.

    Attributes:
        num_samples: images per member and checkpoint; x_T and step noise are shared by all.
        every: one out of so many checkpoints is sampled, counted back from the last.
    """

    num_samples: int = 512
    every: int = 1

    def __post_init__(self):
        check_integer("num_samples", self.num_samples, 2)
        check_integer("every", self.every, 1)


@dataclasses.dataclass(frozen=True)
class ImageComparisonConfig:
    """How images drawn are compared with training images.

    Attributes:
        memorised_below: a sample whose distance to the nearest training image is below this share
            of that to the second nearest counts as memorised.
    """

    memorised_below: float = 1 / 3

    def __post_init__(self):
        share = self.memorised_below
        require(bool(0 < share < 1), "memorised_below", share, "above 0 and below 1")


MAX_BATCH = 512
"""Images denoised at once; they do not depend on it, since each has its own key."""

SHOWN = 8
"""Samples whose pictures are kept, with their nearest training images."""


def plan_samples(context: Context) -> Plan:
    """The stage "samples": images of every member at every sampled checkpoint."""
    axes = ("pixel", "channel")
    return plan_drawing(context, generate, "images", axes, "grey value", "generated images")


def plan_comparison(context: Context) -> Plan:
    """The stage "comparison": the samples against each other and against the training sets."""
    config, settings = image_config(context.config), context.own["comparison"]
    epochs = sampled_epochs(config, context.own["samples"])

    def prepare() -> Recipe:
        train = np.asarray(pixels(make_data(config).train))
        images = context.load("samples")["images"].values
        key = run_key(config, "fresh")
        shape = (config.network.height, config.network.width, config.network.channels)

        def at_epoch(epoch: int) -> Measurements:
            drawn = images[epochs.index(epoch)]
            measured = compare(key, settings, drawn, train, config.num_seeds)
            return {**measured, **pictures(drawn, train, shape, config.num_seeds)}

        return Recipe(at_epoch)

    return along_checkpoints(epochs, prepare)


def generate(
    key: Key[Array, ""], network: Any, schedule: Schedule, params: Any, num_samples: int
) -> Float[np.ndarray, "member sample pixels channels"]:
    """Images from every member, all from the same x_T and step noise."""
    return in_blocks(
        lambda own, size: _generate_block(own, network, schedule, params, size),
        key,
        num_samples,
        MAX_BATCH,
    )


@functools.partial(jax.jit, static_argnames=("network", "size"))
def _generate_block(
    key: Key[Array, ""], network: Any, schedule: Schedule, params: Any, size: int
) -> Float[Array, "member sample pixels channels"]:
    def one_member(own: Any) -> Array:
        denoiser = learned_denoiser(network, own, schedule)
        return sample_ancestral(key, denoiser, schedule, size)

    return map_over_devices(one_member, params)


def sample_pairs(num_splits: int, num_seeds: int) -> list[tuple[int, int]]:
    """All pairs of members with the same seed on disjoint splits; those of split_pairs first."""
    first = split_pairs(num_splits, num_seeds)
    everything = [
        (a * num_seeds + seed, b * num_seeds + seed)
        for a, b in itertools.combinations(range(num_splits), 2)
        for seed in range(num_seeds)
    ]
    return first + [pair for pair in everything if pair not in first]


def compare(
    key: Key[Array, ""],
    settings: ImageComparisonConfig,
    samples: Float[np.ndarray, "member sample pixels channels"],
    train: Float[np.ndarray, "split n pixels channels"],
    num_seeds: int,
) -> Measurements:
    """How one checkpoint's samples lie to each other, to their training set and to another.

    Args:
        key: for the bootstrap intervals.
        settings: of the stage.
        samples: of all members, the i-th of each from the same noise.
        train: training sets.
        num_seeds: members per training set.
    """
    num_splits = len(train)
    rows: dict[str, list[Any]] = {name: [] for name in _MEASURED}
    for member, generated in enumerate(samples):
        split = member // num_seeds
        own = train[split]
        rows["nearest_distance"].append(np.mean(nearest_images(generated, own).distance))
        memorised = neighbour_ratio(generated, own, metric="euclidean") < settings.memorised_below
        found = bootstrap_interval(jax.random.fold_in(key, member), memorised)
        rows["memorised"].append(found.estimate)
        rows["memorised_low"].append(found.low)
        rows["memorised_high"].append(found.high)
        if num_splits > 1:
            partner = partner_split(split, num_splits)  # a last odd one has none
            gap = np.nan
            if partner is not None:
                gap = own_other_gap(generated, own, train[partner], metric="euclidean").mean()
            rows["gap"].append(gap)
    for name, pairs in (
        ("dissimilarity", sample_pairs(num_splits, num_seeds)),
        ("same_data", same_data_pairs(num_splits, num_seeds)),
    ):
        rows[name] = [dissimilarity(samples[a], samples[b]).mean() for a, b in pairs]
    return {
        name: Measurement(np.asarray(values), dims, units, definition)
        for name, values in rows.items()
        if values
        for dims, units, definition in [_MEASURED[name]]
    }


_MEASURED = {
    "dissimilarity": (
        ("pair",),
        "1 − cosine",
        "of paired samples of networks on disjoint splits, standardised per image, all pairs",
    ),
    "same_data": (
        ("pair",),
        "1 − cosine",
        "the same of two networks on the same split from different seeds",
    ),
    "gap": (
        ("member",),
        "pixel units",
        "mean over samples of distance to the nearest image of the other split of its pair − of "
        "its own; NaN for a last odd split",
    ),
    "nearest_distance": (
        ("member",),
        "pixel units",
        "mean over samples of the Euclidean distance to the nearest training image",
    ),
    "memorised": (
        ("member",),
        "fraction",
        "samples much nearer to one training image than to any other",
    ),
    "memorised_low": (("member",), "fraction", "lower end of its 95 % bootstrap interval"),
    "memorised_high": (("member",), "fraction", "upper end of its 95 % bootstrap interval"),
}


def pictures(
    samples: Float[np.ndarray, "member sample pixels channels"],
    train: Float[np.ndarray, "split n pixels channels"],
    shape: tuple[int, int, int],
    num_seeds: int,
) -> Measurements:
    """The first samples of one network of each of the first two splits, to be looked at."""
    members = [split * num_seeds for split in range(min(2, len(train)))]
    drawn = [samples[member][:SHOWN] for member in members]
    nearest = [
        train[split][np.asarray(nearest_images(images, train[split]).row)]
        for split, images in enumerate(drawn)
    ]
    dims = ("network", "sample", "height", "width", "channel")
    return {
        name: Measurement(
            np.stack(images).reshape(len(members), -1, *shape), dims, "grey value", of
        )
        for name, images, of in (
            ("pictures", drawn, "samples of a network of each split, paired by their noise"),
            ("nearest_pictures", nearest, "the nearest training image of each"),
        )
    }


STAGES = (
    Stage("samples", ImageSamplesConfig, plan_samples, world="images", passes=sampling_passes),
    Stage("comparison", ImageComparisonConfig, plan_comparison, reads=("samples",), world="images"),
)
