"""Losses of networks on images at one checkpoint, and how alike networks of disjoint splits see."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.images.configs import image_config
from experiments.images.data import ImageSplits
from experiments.spread import map_over_devices
from experiments.stages.evaluation import own_inputs, split_pairs
from experiments.stages.pipeline import Context, Plan, Recipe, along_checkpoints
from experiments.stages.registry import Stage
from experiments.stages.settings import (
    check_counts,
    check_relative_times,
    num_members,
    num_rows,
    step_at,
)
from experiments.store import Measurement, Measurements
from experiments.train import checkpoints_of, epochs_of, make_data, run_key
from hiermodel.diffusion.corruption import pixels
from hiermodel.diffusion.denoiser import MeanDenoiser
from hiermodel.diffusion.pixels import empirical_pixel_denoiser, gaussian_pixel_denoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.measures.agreement import noise_cosine
from hiermodel.measures.loss import stratified_steps
from hiermodel.networks.network import apply
from hiermodel.randomness import normal_per_sample


@dataclasses.dataclass(frozen=True)
class ImageEvaluationConfig:
    """How losses and agreement of networks are measured at a checkpoint.

    Attributes:
        num_images: clean images per set (all of the training split, if it is smaller).
        num_noises: noises per image, at every one of ``relative_times``.
        relative_times: t/T at which predicted noises are compared.
        num_loss_noises: noises per image for the loss, at stratified t.
    """

    num_images: int = 2048
    num_noises: int = 1
    relative_times: tuple[float, ...] = (0.1, 0.2, 0.4)
    num_loss_noises: int = 5

    def __post_init__(self):
        check_counts(self, "num_images", "num_noises", "num_loss_noises")
        check_relative_times(*self.relative_times)


SETS = ("train", "test")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoisyImages:
    """The same noisy images for every network and checkpoint; of splits, with an axis in front.

    Attributes:
        x_loss, t_loss, noise: noised at stratified steps, for the loss, and their noise.
        x_t: noised at every one of the fixed steps, ``times`` · ``noises`` along one axis.
    """

    x_loss: Float[Array, "*split loss_noises n pixels channels"]
    t_loss: Int[Array, "*split loss_noises n"]
    noise: Float[Array, "*split loss_noises n pixels channels"]
    x_t: Float[Array, "*split times n pixels channels"]


def plan(context: Context) -> Plan:
    """The stage "evaluation" of a run on images."""
    config, settings = image_config(context.config), context.own["evaluation"]

    def prepare() -> Recipe:
        checkpoints = checkpoints_of(config, context.run)
        splits, schedule = make_data(config), config.schedule
        inputs = make_inputs(run_key(config, "evaluation"), settings, schedule, splits)
        steps = fixed_steps(settings, schedule)

        def at_epoch(epoch: int) -> Measurements:
            params = checkpoints.load_params(epoch)
            sizes = config.num_splits, config.num_seeds
            return evaluate(config.network, settings, steps, inputs, params, *sizes)

        times = np.array([step_at(t, schedule) for t in settings.relative_times])
        at = Measurement(times / schedule.num_steps, ("noise_level",), "t/T", "of the cosines")
        return Recipe(at_epoch, {"noise_level": at, **oracle_losses(splits, schedule, inputs)})

    return along_checkpoints(epochs_of(config), prepare)


def fixed_steps(settings: ImageEvaluationConfig, schedule: Schedule) -> Int[Array, " times"]:
    """The step of each entry of ``NoisyImages.x_t``: every time as often as there are noises."""
    steps = [step_at(time, schedule) for time in settings.relative_times]
    return jnp.asarray(np.repeat(steps, settings.num_noises), jnp.int32)


def make_inputs(
    key: Key[Array, ""],
    settings: ImageEvaluationConfig,
    schedule: Schedule,
    splits: ImageSplits,
) -> dict[str, NoisyImages]:
    """Noisy inputs from the test set, and from every training split (stacked)."""
    keys = jax.random.split(key, len(splits.train) + 1)
    make = functools.partial(_noisy_images, settings, schedule)
    train = [make(k, images) for k, images in zip(keys[1:], splits.train, strict=True)]
    return {
        "train": jax.tree.map(lambda *leaves: jnp.stack(leaves), *train),
        "test": make(keys[0], splits.test),
    }


def _noisy_images(
    settings: ImageEvaluationConfig, schedule: Schedule, key: Key[Array, ""], images: np.ndarray
) -> NoisyImages:
    x_0 = pixels(images[: settings.num_images])
    step_key, loss_key, noise_key = jax.random.split(key, 3)
    repeats = range(settings.num_loss_noises)
    steps = [
        stratified_steps(jax.random.fold_in(step_key, repeat), schedule.num_steps, len(x_0))
        for repeat in repeats
    ]
    t_loss = jnp.stack(steps)
    noise = normal_per_sample(loss_key, t_loss.shape, x_0.shape[1:], x_0.dtype)
    fixed = fixed_steps(settings, schedule)
    other = normal_per_sample(noise_key, (len(fixed), len(x_0)), x_0.shape[1:], x_0.dtype)
    return NoisyImages(
        schedule.mix(x_0, noise, t_loss),
        t_loss,
        noise,
        schedule.mix(x_0, other, fixed[:, None]),
    )


def evaluate(
    network: Any,
    settings: ImageEvaluationConfig,
    steps: Int[Array, " times"],
    inputs: dict[str, NoisyImages],
    params: Any,
    num_splits: int,
    num_seeds: int,
) -> Measurements:
    """Losses of all members at one checkpoint, and cosines of pairs on disjoint splits.

    Args:
        network: the architecture's configuration.
        settings: as the inputs were made with.
        steps: from :func:`fixed_steps`.
        inputs: from :func:`make_inputs`.
        params: parameters of all members, stacked on a leading axis, split by split.
        num_splits: disjoint training sets.
        num_seeds: members per training set.
    """
    member_split = jnp.repeat(jnp.arange(num_splits), num_seeds)
    loss = np.asarray(_losses(network, inputs, params, member_split))
    results = {
        "loss": Measurement(
            loss,
            ("member", "set"),
            "squared error per pixel",
            "denoising loss, of the predicted noise, mean over stratified t",
        )
    }
    pairs = split_pairs(num_splits, num_seeds)
    if pairs:
        cosine = np.asarray(
            _cosines(network, inputs, params, member_split, steps, jnp.asarray(pairs))
        )
        shape = (*cosine.shape[:2], len(settings.relative_times), settings.num_noises)
        results["noise_cosine"] = Measurement(
            cosine.reshape(shape).mean(-1),
            ("pair", "set", "noise_level"),
            "cosine",
            "of the noises predicted by two networks trained on disjoint splits, inputs of A's "
            "split or of the test set, mean over images",
        )
    return results


def oracle_losses(
    splits: ImageSplits, schedule: Schedule, inputs: dict[str, NoisyImages]
) -> Measurements:
    """The same loss, (split, set), of the two ends: the linear denoiser and the memoriser."""
    names = {"gaussian": gaussian_pixel_denoiser, "empirical": empirical_pixel_denoiser}
    found = {}
    for name, make in names.items():
        values = np.zeros((len(splits.train), len(SETS)))
        for split, images in enumerate(splits.train):
            denoiser = make(schedule, np.asarray(pixels(images)))
            own = jax.tree.map(lambda leaf, split=split: leaf[split], inputs["train"])
            for index, given in enumerate((own, inputs["test"])):
                values[split, index] = float(_oracle_loss(denoiser, schedule, given))
        found[f"{name}_loss"] = Measurement(
            values,
            ("split", "set"),
            "squared error per pixel",
            f"denoising loss of the {name} denoiser of the split, on the same noisy images",
        )
    return found


@jax.jit
def _oracle_loss(denoiser: MeanDenoiser, schedule: Schedule, given: NoisyImages) -> Array:
    def one(piece: tuple[Array, Array, Array]) -> Array:
        x_t, t, noise = piece
        signal = jnp.sqrt(schedule.alpha_bar[t]).astype(x_t.dtype)[..., None, None]
        spread = jnp.sqrt(schedule.noise_variance[t]).astype(x_t.dtype)[..., None, None]
        predicted = (x_t - signal * denoiser(x_t, t)) / spread
        return jnp.square(predicted - noise).mean()

    return jax.lax.map(one, (given.x_loss, given.t_loss, given.noise)).mean()


@functools.partial(jax.jit, static_argnames="network")
def _losses(
    network: Any, inputs: dict[str, NoisyImages], params: Any, member_split: Int[Array, " member"]
) -> Float[Array, "member set"]:
    def one_set(own: Any, given: NoisyImages) -> Array:
        def one(piece: tuple[Array, Array, Array]) -> Array:
            x_t, t, noise = piece
            return jnp.square(apply(network, own, x_t, t) - noise).mean()

        return jax.lax.map(one, (given.x_loss, given.t_loss, given.noise)).mean()

    def one_member(member: tuple[Any, Array]) -> Array:
        own, split = member
        return jnp.stack([one_set(own, given) for given in own_inputs(inputs, split)])

    return map_over_devices(one_member, (params, member_split))


@functools.partial(jax.jit, static_argnames="network")
def _cosines(
    network: Any,
    inputs: dict[str, NoisyImages],
    params: Any,
    member_split: Int[Array, " member"],
    steps: Int[Array, " times"],
    pairs: Int[Array, "pair two"],
) -> Float[Array, "pair set times"]:
    def one_pair(pair: Array) -> Array:
        networks = [jax.tree.map(lambda leaf, i=i: leaf[pair[i]], params) for i in range(2)]

        def one(piece: tuple[Array, Array]) -> Array:
            x_t, t = piece
            return noise_cosine(*(apply(network, own, x_t, t) for own in networks)).mean()

        per_set = own_inputs(inputs, member_split[pair[0]])
        return jnp.stack([jax.lax.map(one, (given.x_t, steps)) for given in per_set])

    return map_over_devices(one_pair, pairs)


def _passes(run: Any, settings: Mapping[str, Any]) -> float:
    own = settings["evaluation"]
    noises = own.num_noises * len(own.relative_times)
    pairs = len(split_pairs(run.num_splits, run.num_seeds))
    per_row = num_members(run) * own.num_loss_noises + 2 * pairs * noises
    return run.num_checkpoints * per_row * num_rows(run, own.num_images)


STAGES = (Stage("evaluation", ImageEvaluationConfig, plan, world="images", passes=_passes),)
