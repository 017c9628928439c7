"""The evaluation card of a run on sequences of a grammar."""

import dataclasses
from collections.abc import Iterator

from experiments import configs, store
from experiments.cards.card import Card, Curve, Number
from experiments.cards.lines import (
    BIASED,
    EXTRACTED,
    GAINED,
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
    onset_numbers,
    per_pair,
    per_set,
    stop_numbers,
    training_facts,
)
from experiments.onsets import values_at
from experiments.stages import advice, attacks
from experiments.stages.u_turns import members_of
from experiments.store import Measurements, RunFolder
from experiments.train import checkpoints_of, make_data

NEEDED_FOR = {
    "evaluation": "losses and divergence from the exact denoiser",
    "comparison": "copies, nearest-neighbour divergence and own–other gap",
    "attacks": "membership inference and extraction",
    "advice": "the advised stop",
}

MOMENTS = {"τ_bias": "tau_neighbour", "τ_test": "tau_test"}

ONSETS = {
    "tau_neighbour": "τ_bias, minimum of the nearest-neighbour divergence, epochs",
    "tau_test": "τ_test, minimum of the test loss, epochs",
}


def fill_in(config: configs.RunConfig, run: RunFolder, results: Results) -> Card:
    """The card, from the results there are."""
    facts = {
        "networks": f"{config.num_splits} splits × {config.num_seeds} seeds, "
        f"{type(config.network).__name__.removesuffix('Config')}",
        "training set": f"{config.split_size} sequences of {config.grammar.branching}"
        f"^{config.grammar.depth} symbols",
        **training_facts(config, run),
    }
    numbers = [
        *_bias(results),
        *onset_numbers(results, ONSETS),
        *_extraction(results),
        *membership_numbers(results, oracle=True),
        *_privacy(results),
        *stop_numbers(results),
    ]
    missing = missing_stages(NEEDED_FOR, results)
    title = f"{config.grammar.kind} grammar, n = {config.split_size}"
    curves = list(_curves(results))
    return Card(title, facts, "epochs", numbers, curves, marked(results, MOMENTS), missing)


def compute(config: configs.RunConfig, run: RunFolder, results: Results) -> dict[str, Measurements]:
    """Attacks at the two minima and at the end, and advice, where they are not measured."""
    sequences, epochs = (results["samples"][name].values for name in ("sequences", "epoch"))
    checkpoints, found = checkpoints_of(config, run), {}
    if "attacks" not in results and "onsets" in results:
        used = attacked_epochs(results, MOMENTS)
        setting = attacks.make_setting(config, attacks.AttacksConfig(), sequences.shape[2])
        parts = []
        for epoch in used:
            networks = members_of(config, checkpoints.load_params(int(epoch)))
            rows = sequences[list(epochs).index(epoch)]
            parts.append(attacks.measure(setting, networks, rows))
        joined = store.stack(parts, "checkpoint")
        about = results["samples"]["epoch"]
        constant = attacks.chance(setting)
        found["attacks"] = {"epoch": dataclasses.replace(about, values=used), **constant, **joined}
    if "advice" not in results and config.num_splits > 1:
        settings, splits = advice.AdviceConfig(), make_data(config)
        looks: list[Measurements] = [
            advice.look(config, settings, splits, checkpoints.load_params(int(epoch)), rows)
            for epoch, rows in zip(epochs, sequences, strict=True)
        ]
        joined = {"epoch": results["samples"]["epoch"], **store.stack(looks, "checkpoint")}
        found["advice"] = advice.with_advice(config, settings, splits, joined, sequences)
    return found


def _bias(results: Results) -> Iterator[Number]:
    if "evaluation" in results:
        divergence = at_test_minimum(results, "evaluation", "model_oracle")[:, 1, 0]
        yield per_set(
            results,
            BIASED,
            "divergence from the exact denoiser at τ_test, nats per sequence",
            divergence,
        )
    if "comparison" not in results:
        return
    if "gap" in results["comparison"]:
        gap = at_test_minimum(results, "comparison", "gap")
        yield per_pair(results, BIASED, "own–other gap at τ_test, symbols", gap, 0.0)
    copies = at_test_minimum(results, "comparison", "copies")
    fresh = float(results["comparison"]["copies_fresh"].values.mean())
    yield per_set(results, BIASED, "copies among samples at τ_test, fraction", copies, fresh)


def _extraction(results: Results) -> Iterator[Number]:
    if "attacks" not in results:
        return
    excess = at_test_minimum(results, "attacks", "reproduction")
    yield per_set(
        results,
        EXTRACTED,
        "copies among samples − among fresh data at τ_test",
        excess[:, 0, 0],
        0.0,
    )
    for name, about in (
        ("num_claims", "sequences claimed from duplicates among samples at τ_test"),
        ("precision", "claims that are right at τ_test"),
        ("recall", "training sequences extracted so at τ_test"),
    ):
        values = at_test_minimum(results, "attacks", name)
        chance = None if name == "num_claims" else float(values[:, 1].mean())
        yield per_set(results, EXTRACTED, about, values[:, 0], chance)
    if "cycle_copies" in results["attacks"]:
        exact = float(results["attacks"]["cycle_copies_exact"].values[:, -1].mean())
        for short, tau in MOMENTS.items():
            if tau in results.get("onsets", {}):
                taus = results["onsets"][tau].values
                copies = values_at(results["attacks"], "cycle_copies", taus)[:, -1]
                name = f"repeated U-turns that end on a training sequence, at {short}"
                yield per_set(results, EXTRACTED, name, copies, exact)


def _privacy(results: Results) -> Iterator[Number]:
    if "epsilon" in results.get("attacks", {}):
        bound = at_test_minimum(results, "attacks", "epsilon")[:, 1, 1]
        yield per_set(results, GAINED, "ε refuted with 95 % confidence at τ_test", bound, 0.0)


def _curves(results: Results) -> Iterator[Curve]:
    yield from loss_curves(results, "nats per position")
    if "comparison" in results:
        compared = results["comparison"]
        for name, label in (("copies", "copies"), ("near_copies", "near-copies")):
            own = compared[name].values
            yield curve(results, "comparison", "reproduction", label, "fraction", own)
        if "gap" in compared:
            yield gap_curve(results, "symbols")
    yield from membership_curves(results, oracle=True)
