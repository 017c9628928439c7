"""What attackers gain from networks on images, and what the stopping advisor sees of them.

Two networks on disjoint halves take the place of the exact denoiser, of which images have none.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.images.configs import ImageRunConfig
from experiments.images.data import ImageSplits
from experiments.stages.advice import AdviceConfig
from experiments.stages.attacks import AttacksConfig
from experiments.stages.evaluation import split_pairs
from experiments.stages.membership import attack_scores, membership
from experiments.stages.settings import step_at
from experiments.store import Measurement, Measurements
from experiments.train import make_data, run_key
from hiermodel.diffusion.corruption import add_noise, pixels
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import attack_losses
from hiermodel.networks.learned import LearnedPixelDenoiser


def splits_of_pixels(config: ImageRunConfig) -> ImageSplits:
    """Training sets and test set of a run, laid out as pixels: (…, pixels, channels) float32."""
    splits = make_data(config)
    return ImageSplits(np.asarray(pixels(splits.train)), np.asarray(pixels(splits.test)))


def networks_of(config: ImageRunConfig, params: Any) -> list[LearnedPixelDenoiser]:
    """Every member as a denoiser of its own."""
    return [
        LearnedPixelDenoiser(
            config.network,
            {name: jnp.asarray(values[member]) for name, values in params.items()},
            config.schedule,
        )
        for member in range(config.num_splits * config.num_seeds)
    ]


def attack(
    config: ImageRunConfig, settings: AttacksConfig, splits: ImageSplits, params: Any
) -> Measurements:
    """Membership inference on every network of a checkpoint; other settings are for sequences."""
    step_key, noise_key, test_key = jax.random.split(run_key(config, "attacks"), 3)
    parts = [images[: settings.num_sequences] for images in (*splits.train, splits.test)]
    fixed = np.full(settings.num_noises, step_at(settings.relative_time, config.schedule))
    spread = np.asarray(stratified_steps(step_key, config.num_steps, settings.num_noises))
    keys, pool = jax.random.split(noise_key), np.concatenate(parts)

    def losses(network: LearnedPixelDenoiser) -> Float[np.ndarray, "times n"]:
        return np.stack(
            [
                attack_losses(key, network, config.schedule, pool, steps)
                for key, steps in zip(keys, (fixed, spread), strict=True)
            ]
        )

    found = np.stack([losses(network) for network in networks_of(config, params)])
    ends = np.cumsum([len(part) for part in parts])
    rows = [slice(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    own = [rows[member // config.num_seeds] for member in range(len(found))]
    scores = attack_scores(config, found, None)
    return membership(test_key, scores, own, rows[-1], settings.num_resamples)


def look(
    config: ImageRunConfig, settings: AdviceConfig, splits: ImageSplits, params: Any
) -> dict[str, Measurement]:
    """What the advisor sees of one checkpoint, besides the samples."""
    step_key, loss_key, noise_key = jax.random.split(run_key(config, "advice"), 3)
    schedule, clean = config.schedule, splits.test[: settings.num_sequences]
    steps = stratified_steps(step_key, schedule.num_steps, settings.num_noises)
    networks = networks_of(config, params)
    losses = [attack_losses(loss_key, network, schedule, clean, steps) for network in networks]
    t = step_at(settings.relative_time, schedule)
    noises = [
        add_noise(key, schedule, clean, t)
        for key in jax.random.split(noise_key, settings.num_noises)
    ]
    seen = np.stack([[np.asarray(network.noise(x_t, t)) for x_t in noises] for network in networks])
    apart = [
        np.square(seen[a] - seen[b]).mean((0, -2, -1))
        for a, b in split_pairs(config.num_splits, config.num_seeds)
    ]
    return {
        "test_loss": Measurement(
            np.stack(losses), ("member", "image"), "squared error per pixel", "loss on test images"
        ),
        "split_divergence": Measurement(
            np.stack(apart),
            ("pair", "image"),
            "squared error per pixel",
            "squared difference of the noises that networks of disjoint splits predict",
        ),
    }
