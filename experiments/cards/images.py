"""The evaluation card of a run on images."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from experiments import store
from experiments.cards.card import Card, Curve, Number
from experiments.cards.lines import (
    BIASED,
    EXTRACTED,
    Results,
    at_test_minimum,
    attacked_epochs,
    curve,
    gap_curve,
    loss_curves,
    marked,
    membership_curves,
    membership_numbers,
    missing_stages,
    num_splits,
    onset_numbers,
    per_pair,
    per_set,
    stop_numbers,
    training_facts,
)
from experiments.images.configs import ImageRunConfig
from experiments.images.data import ImageSplits
from experiments.images.practice import attack, look, splits_of_pixels
from experiments.stages import advice
from experiments.stages.advice import AdviceConfig
from experiments.stages.attacks import AttacksConfig
from experiments.stages.evaluation import split_pairs
from experiments.stages.image_generation import ImageComparisonConfig
from experiments.store import Measurement, Measurements, RunFolder
from experiments.train import checkpoints_of
from hiermodel.measures.several_neighbours import neighbour_ratio

ATTACKS = AttacksConfig(num_sequences=1000, num_noises=4)
ADVICE = AdviceConfig(num_sequences=200, num_noises=2)

NEEDED_FOR = {
    "evaluation": "losses and agreement of networks",
    "comparison": "memorised samples, dissimilarity of networks and own–other gap",
    "attacks": "membership inference",
    "advice": "the advised stop",
}

MOMENTS = {"τ_pair": "tau_pair", "τ_test": "tau_test"}

ONSETS = {
    "tau_pair": "τ_pair, when networks of disjoint splits draw most alike, epochs",
    "tau_test": "τ_test, minimum of the test loss, epochs",
}


def fill_in(config: ImageRunConfig, run: RunFolder, results: Results) -> Card:
    """The card, from the results there are."""
    network = config.network
    facts = {
        "networks": f"{config.num_splits} splits × {config.num_seeds} seeds, U-Net",
        "training set": f"{config.split_size} images of {network.height} × {network.width} × "
        f"{network.channels}, source: {config.data.source}, filter: {config.data.filtering}",
        **training_facts(config, run),
    }
    numbers = [
        *_bias(results),
        *onset_numbers(_of_independent_pairs(config, results), ONSETS),
        *_memorised(results),
        *membership_numbers(results, oracle=False),
        *stop_numbers(results),
    ]
    missing = missing_stages(NEEDED_FOR, results)
    if not has_images(config):
        missing.append("the images themselves: name them (--images PATH)")
    title = f"images, n = {config.split_size}"
    curves = list(_curves(results))
    return Card(title, facts, "epochs", numbers, curves, marked(results, MOMENTS), missing)


def _of_independent_pairs(config: ImageRunConfig, results: Results) -> Results:
    """Results without the onsets of pairs that share networks with others, which come last."""
    onsets = dict(results.get("onsets", {}))
    if "tau_pair" in onsets:
        count = len(split_pairs(config.num_splits, config.num_seeds))
        tau = onsets["tau_pair"]
        onsets["tau_pair"] = dataclasses.replace(tau, values=tau.values[:count])
    return {**results, "onsets": onsets}


def has_images(config: ImageRunConfig) -> bool:
    """Whether it is known where the images are."""
    return config.data.source == "digits" or config.data.file is not None


def compute(config: ImageRunConfig, run: RunFolder, results: Results) -> dict[str, Measurements]:
    """Attacks at the two moments and at the end, and advice; nothing without the images."""
    if not has_images(config):
        return {}
    drawn, epoch = results["samples"]["images"].values, results["samples"]["epoch"]
    checkpoints, splits = checkpoints_of(config, run), splits_of_pixels(config)
    found = {}
    if "onsets" in results:
        used = attacked_epochs(results, MOMENTS)
        parts: list[Measurements] = [
            attack(config, ATTACKS, splits, checkpoints.load_params(int(each))) for each in used
        ]
        joined = store.stack(parts, "checkpoint")
        about = dataclasses.replace(epoch, values=used)
        found["attacks"] = {"epoch": about, **joined, "memorised_test": _chance(splits)}
    if config.num_splits > 1:
        looks: list[Measurements] = [
            look(config, ADVICE, splits, checkpoints.load_params(int(each)))
            for each in epoch.values
        ]
        joined = {"epoch": epoch, **store.stack(looks, "checkpoint")}
        found["advice"] = advice.with_advice(config, ADVICE, splits, joined, drawn)
    return found


def _chance(splits: ImageSplits) -> Measurement:
    """How many test images count as memorised, which no network has drawn."""
    below = ImageComparisonConfig.memorised_below
    ratios = [neighbour_ratio(splits.test, own, metric="euclidean") for own in splits.train]
    about = "test images much nearer to one training image than to any other"
    return Measurement(np.mean(np.array(ratios) < below, 1), ("split",), "fraction", about)


def _bias(results: Results) -> Iterator[Number]:
    if "evaluation" in results:
        loss = at_test_minimum(results, "evaluation", "loss")
        name = "test loss − training loss at τ_test, squared error per pixel"
        yield per_set(results, BIASED, name, loss[:, 1] - loss[:, 0], 0.0)
    if "gap" in results.get("comparison", {}):
        gap = at_test_minimum(results, "comparison", "gap")
        yield per_pair(results, BIASED, "own–other gap at τ_test, pixel units", gap, 0.0)


def _memorised(results: Results) -> Iterator[Number]:
    if "comparison" not in results:
        return
    chance = None
    if "attacks" in results and "memorised_test" in results["attacks"]:
        chance = float(results["attacks"]["memorised_test"].values.mean())
    share = results["comparison"]["memorised"].values
    at_test = at_test_minimum(results, "comparison", "memorised")
    about = "samples much nearer to one training image than to any other"
    yield per_set(results, EXTRACTED, f"{about}, at τ_test", at_test, chance)
    yield per_set(results, EXTRACTED, f"{about}, at the end", share[-1], chance)


def _curves(results: Results) -> Iterator[Curve]:
    yield from loss_curves(results, "squared error per pixel")
    if "comparison" in results:
        compared = results["comparison"]
        pairs = num_splits(results) // 2
        if "dissimilarity" in compared:
            # Those that share no network with others come first.
            count = pairs * (compared["memorised"].values.shape[1] // num_splits(results))
            own = compared["dissimilarity"].values[:, :count]
            panel, label = "dissimilarity", "disjoint splits"
            yield curve(results, "comparison", panel, label, "1 − cosine", own, pairs)
        for name, panel, label, units in (
            ("same_data", "dissimilarity", "same split", "1 − cosine"),
            ("memorised", "memorised samples", "samples", "fraction"),
        ):
            if name in compared:
                own = compared[name].values
                yield curve(results, "comparison", panel, label, units, own)
        if "gap" in compared:
            yield gap_curve(results, "pixel units")
    yield from membership_curves(results, oracle=False)
