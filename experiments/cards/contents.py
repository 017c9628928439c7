"""The evaluation card of a run of any world, from the results there are."""

import dataclasses
from collections.abc import Iterator, Mapping

from experiments import store
from experiments.cards.card import Card, Curve, Number
from experiments.cards.lines import (
    BIASED,
    EXTRACTED,
    GAINED,
    Results,
    at_test_minimum,
    attacked_epochs,
    curve,
    kinds_of_attack,
    marked,
    membership_numbers,
    onset_numbers,
    per_pair,
    per_set,
    stop_numbers,
)
from experiments.configs import RunConfig
from experiments.onsets import by_pair, num_splits, values_at
from experiments.runs.data import data_as_drawn
from experiments.runs.members import checkpoints_of
from experiments.stages import advice, attacks
from experiments.stages.denoising import SETS, denoisers_of
from experiments.stages.examination import fails
from experiments.store import Measurements, RunFolder
from experiments.worlds.registry import world_of
from experiments.worlds.world import World
from hiermodel.measures.units import by_pair_of_sets

NEEDED_FOR = {
    "evaluation": "losses and divergences of networks",
    "comparison": "copies among samples, and the own–other gap",
    "attacks": "membership inference and extraction",
    "advice": "the advised stop",
}


def fill_in(config: RunConfig, run: RunFolder, results: Results) -> Card:
    """The card, from the results there are."""
    world, moments = world_of(config), moments_of(config)
    network, training = type(config.network).__name__.removesuffix("Config"), config.training
    facts = {
        "networks": f"{config.num_splits} splits × {config.num_seeds} seeds, {network}",
        "training set": f"{config.split_size} {world.examples}, {world.describe(config)}",
        "training": f"{training.num_epochs} epochs, batches of {training.batch_size}, rate "
        f"{training.learning_rate:g}",
        "identity": run.path.name,
    }
    curve_name = world.bias_onset[1]
    onsets = {
        world.bias_onset[0]: f"{next(iter(moments))}, minimum of the {curve_name}, epochs",
        "tau_test": "τ_test, minimum of the test loss, epochs",
    }
    oracle = world.exact(config) is not None
    numbers = [
        *_bias(world, results),
        *law_numbers(results),
        *onset_numbers(results, onsets),
        *_copies(results),
        *_extraction(results, moments),
        *membership_numbers(results, oracle=oracle),
        *_privacy(results),
        *stop_numbers(results),
    ]
    missing = [
        f"{what}: stage “{stage}” is not finished"
        for stage, what in NEEDED_FOR.items()
        if stage not in results
    ]
    missing += filter(None, [world.missing(config.data)])
    title = f"{world.describe(config)}, n = {config.split_size}"
    curves = [*_curves(world, results, oracle=oracle)]
    return Card(title, facts, "epochs", numbers, curves, marked(results, moments), missing)


def moments_of(config: RunConfig) -> Mapping[str, str]:
    """The onsets that are marked, by what they are called."""
    return {"τ_bias": world_of(config).bias_onset[0], "τ_test": "tau_test"}


def compute(config: RunConfig, run: RunFolder, results: Results) -> dict[str, Measurements]:
    """Attacks at the two minima and at the end, and advice, where they are not measured.

    Nothing, if the data cannot be made.
    """
    world, found = world_of(config), {}
    if world.missing(config.data) is not None:
        return {}
    drawn, epoch = (results["samples"][name] for name in (world.examples, "epoch"))
    checkpoints, splits = checkpoints_of(config, run), data_as_drawn(config)
    if "attacks" not in results and "onsets" in results:
        used = attacked_epochs(results, moments_of(config))
        own = attacks.AttacksConfig(**world.quick["attacks"])
        setting = attacks.make_setting(config, own, drawn.values.shape[2])
        parts = []
        for each in used:
            networks = denoisers_of(config, checkpoints.load_params(int(each)))
            rows = drawn.values[list(epoch.values).index(each)]
            parts.append(attacks.measure(setting, networks, rows))
        about = dataclasses.replace(epoch, values=used)
        joined = store.stack(parts, "checkpoint")
        found["attacks"] = {"epoch": about, **attacks.chance(setting), **joined}
    if "advice" not in results and config.num_splits > 1:
        settings = advice.AdviceConfig(**world.quick["advice"])
        looks: list[Measurements] = [
            advice.look(config, settings, splits, checkpoints.load_params(int(each)), rows)
            for each, rows in zip(epoch.values, drawn.values, strict=True)
        ]
        joined = {"epoch": epoch, **store.stack(looks, "checkpoint")}
        found["advice"] = advice.with_advice(config, settings, splits, joined, drawn.values)
    return found


def _bias(world: World, results: Results) -> Iterator[Number]:
    if "evaluation" in results:
        evaluation = results["evaluation"]
        if "model_oracle" in evaluation:
            found = at_test_minimum(results, "evaluation", "model_oracle")[:, 1, 0]
            units = world.units["divergence"]
            name = f"divergence from the exact denoiser at τ_test, {units}"
            yield per_set(results, BIASED, name, found)
        loss = at_test_minimum(results, "evaluation", "loss")
        name = f"test loss − training loss at τ_test, {world.units['loss']}"
        yield per_set(results, BIASED, name, loss[:, 1] - loss[:, 0], 0.0)
    if "gap" in results.get("comparison", {}):
        gap = at_test_minimum(results, "comparison", "gap")
        name = f"own–other gap at τ_test, {world.units['distance']}"
        yield per_pair(results, BIASED, name, gap, 0.0)


def law_numbers(results: Results) -> Iterator[Number]:
    """What the examination of samples found, if there is one."""
    if "examination" in results:
        failed = fails(at_test_minimum(results, "examination", "p_value")).mean(-1)
        of_law = fails(results["examination"]["p_value_of_law"].values).mean()
        name = "tests of the grammar's law that samples fail at τ_test, share of all"
        yield per_set(results, BIASED, name, failed, float(of_law))


def _copies(results: Results) -> Iterator[Number]:
    comparison = results.get("comparison", {})
    for name, chance, about in (
        ("copies", "copies_fresh", "copies among samples"),
        (
            "memorised",
            "memorised_test",
            "samples much nearer to one training example than to any other",
        ),
    ):
        if name in comparison:
            level = float(comparison[chance].values.mean()) if chance in comparison else None
            values = at_test_minimum(results, "comparison", name)
            yield per_set(results, EXTRACTED, f"{about}, at τ_test", values, level)
            last = comparison[name].values[-1]
            yield per_set(results, EXTRACTED, f"{about}, at the end", last, level)


def _extraction(results: Results, moments: Mapping[str, str]) -> Iterator[Number]:
    attacked = results.get("attacks", {})
    if "reproduction" not in attacked:
        return
    excess = at_test_minimum(results, "attacks", "reproduction")
    name = "copies among samples − among fresh data at τ_test"
    yield per_set(results, EXTRACTED, name, excess[:, 0, 0], 0.0)
    for name, about in (
        ("num_claims", "sequences claimed from duplicates among samples at τ_test"),
        ("precision", "claims that are right at τ_test"),
        ("recall", "training sequences extracted so at τ_test"),
    ):
        values = at_test_minimum(results, "attacks", name)
        chance = None if name == "num_claims" else float(values[:, 1].mean())
        yield per_set(results, EXTRACTED, about, values[:, 0], chance)
    if "cycle_copies" in attacked:
        exact = float(attacked["cycle_copies_exact"].values[:, -1].mean())
        for short, tau in moments.items():
            if tau in results.get("onsets", {}):
                taus = results["onsets"][tau].values
                copies = values_at(attacked, "cycle_copies", taus)[:, -1]
                name = f"repeated U-turns that end on a training sequence, at {short}"
                yield per_set(results, EXTRACTED, name, copies, exact)


def _privacy(results: Results) -> Iterator[Number]:
    if "epsilon" in results.get("attacks", {}):
        bound = at_test_minimum(results, "attacks", "epsilon")[:, 1, 1]
        yield per_set(results, GAINED, "ε refuted with 95 % confidence at τ_test", bound, 0.0)


def _curves(world: World, results: Results, *, oracle: bool) -> Iterator[Curve]:
    if "evaluation" in results:
        loss, units = results["evaluation"]["loss"].values, world.units["loss"]
        for index, name in enumerate(SETS):
            own = loss[:, :, index]
            yield curve(results, "evaluation", "loss", name, units, "↓ better", own)
    compared = results.get("comparison", {})
    if "dissimilarity" in compared:
        own = by_pair(results, compared["dissimilarity"].values)
        units = world.units["dissimilarity"]
        panel, good = "dissimilarity of paired samples", "↓ more alike"
        yield curve(results, "comparison", panel, "disjoint splits", units, good, own, own.shape[1])
        if "same_data" in compared:
            control = compared["same_data"].values
            yield curve(results, "comparison", panel, "same split", units, good, control)
    for name, label in (
        ("copies", "copies"),
        ("near_copies", "near-copies"),
        ("memorised", "memorised"),
    ):
        if name in compared:
            own, panel = compared[name].values, "reproduction"
            yield curve(results, "comparison", panel, label, "fraction", "↓ better", own)
    if "gap" in compared:
        gap = by_pair_of_sets(compared["gap"].values, num_splits(results), axis=1)
        panel, units, good = "own–other gap", world.units["distance"], "0 is unbiased"
        yield curve(results, "comparison", panel, "gap", units, good, gap, gap.shape[1])
    if "attacks" in results:
        area, panel = results["attacks"]["auc"].values, "membership inference"
        for number, kind in enumerate(kinds_of_attack(results, oracle=oracle)):
            own = area[:, :, number, 1]
            yield curve(results, "attacks", panel, kind, "AUC", "0.5 is chance", own)
