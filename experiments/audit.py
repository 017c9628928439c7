"""The evaluation card of a finished run: ``python -m experiments.audit RUN``.

It is made of what has been measured. Attacks and advice, if they have not been, are computed from
the checkpoints and samples there are; everything else that is missing is named.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments import advice, attacks, configs, runtime, store
from experiments.card import QUESTIONS, Card, Curve, Number, over_networks
from experiments.onsets import find_onsets, nearest_epochs, values_at
from experiments.store import Measurements, RunFolder
from experiments.train import checkpoints_of, epochs_of, make_data
from experiments.u_turns import members_of
from hiermodel.checks import require
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.privacy import PrivacyConfig
from hiermodel.training.state import TrainingConfig

BIASED, SINCE, EXTRACTED, GAINED, STOP = QUESTIONS

TYPES: Mapping[str, Any] = {
    each.__name__: each
    for each in (
        configs.RunConfig,
        configs.GrammarConfig,
        TransformerConfig,
        MLPConfig,
        TrainingConfig,
        PrivacyConfig,
    )
}

NEEDED_FOR = {
    "evaluation": "losses and divergence from the exact denoiser",
    "comparison": "copies, nearest-neighbour divergence and own–other gap",
    "attacks": "membership inference and extraction",
    "advice": "the advised stop",
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a one-page card, card.html and card.json, about a run.

    Attributes:
        run: a run folder, or the first letters of one's name under the root.
        root: where run folders are.
        out: where to write the card; the run folder if left out.
        compute: compute attacks and advice if they are missing.
    """

    run: Annotated[str, tyro.conf.Positional]
    root: Path = Path("runs")
    out: Path | None = None
    compute: bool = True


def main(arguments: Arguments) -> Path:
    """Make the card; returns the page."""
    run = find_run(arguments.run, arguments.root)
    card = audit(run, compute=arguments.compute)
    return importlib.import_module("figures.card").write(card.to_json(), arguments.out or run.path)


def find_run(name: str, root: Path) -> RunFolder:
    """The one run folder that is meant.

    Raises:
        ValueError: if there is none, or several.
    """
    folders = [Path(name)] if Path(name, "config.json").exists() else []
    folders = folders or [path.parent for path in root.glob(f"{name}*/config.json")]
    allowed = f"a run folder, or the beginning of the name of one in {root}"
    require(len(folders) == 1, "run", name, f"{allowed}; found {[str(path) for path in folders]}")
    return RunFolder(folders[0])


def config_of(run: RunFolder) -> configs.RunConfig:
    """The configuration that a folder was made for.

    Raises:
        ValueError: if it is none of a grammar run.
    """
    value = json.loads(run.config_file.read_text())["config"]

    def decode(item: Any) -> Any:
        if isinstance(item, Mapping):
            require(item.get("type") in TYPES, "config", item, f"of the types {sorted(TYPES)}")
            return TYPES[item["type"]](**{k: decode(v) for k, v in item.items() if k != "type"})
        return tuple(decode(each) for each in item) if isinstance(item, list) else item

    config = decode(value)
    if not isinstance(config, configs.RunConfig):
        raise ValueError(f"{run.path} is not allowed: it must be the folder of a grammar run")
    return config


def finished(run: RunFolder) -> dict[str, Measurements]:
    """The newest result of every stage."""
    files = sorted(run.path.glob("measurements/*.npz"), key=lambda path: path.stat().st_mtime)
    return {path.stem.rpartition("-")[0]: store.load_measurements(path) for path in files}


def audit(run: RunFolder, *, compute: bool = True) -> Card:
    """Fill in the card from what is finished, and compute what is cheap."""
    config, results = config_of(run), finished(run)
    if "evaluation" in results:
        compared = results.get("comparison", {})
        results["onsets"] = find_onsets(results["evaluation"], compared)
    if compute and "samples" in results and checkpoints_of(config, run).complete(epochs_of(config)):
        results = {**_computed(config, run, results), **results}
    numbers = [*_bias(results), *_onsets(results), *_attacks(results), *_stop(results)]
    training = config.training
    facts = {
        "networks": f"{config.num_splits} splits × {config.num_seeds} seeds, "
        f"{type(config.network).__name__.removesuffix('Config')}",
        "training set": f"{config.split_size} sequences of {config.grammar.branching}"
        f"^{config.grammar.depth} symbols",
        "training": f"{training.num_epochs} epochs, batches of {training.batch_size}, rate "
        f"{training.learning_rate:g}",
        "identity": run.path.name,
    }
    moments = {
        name: float(np.exp(np.log(results["onsets"][tau].values).mean()))
        for name, tau in (("τ_bias", "tau_neighbour"), ("τ_test", "tau_test"))
        if tau in results.get("onsets", {})
    }
    missing = [
        f"{what}: stage “{stage}” is not finished"
        for stage, what in NEEDED_FOR.items()
        if stage not in results
    ]
    title = f"{config.grammar.kind} grammar, n = {config.split_size}"
    return Card(title, facts, "epochs", numbers, list(_curves(results)), moments, missing)


def _computed(
    config: configs.RunConfig, run: RunFolder, results: Mapping[str, Measurements]
) -> dict[str, Measurements]:
    """Attacks at the two minima and at the end, and advice, where they are not measured."""
    sequences, epochs = (results["samples"][name].values for name in ("sequences", "epoch"))
    checkpoints, found = checkpoints_of(config, run), {}
    if "attacks" not in results and "onsets" in results:
        taus = [
            np.exp(np.log(results["onsets"][name].values).mean())
            for name in MOMENTS
            if name in results["onsets"]
        ]
        used = np.unique([*nearest_epochs(results["samples"], np.array(taus)), epochs[-1]])
        setting = attacks.make_setting(config, configs.AttacksConfig(), sequences.shape[2])
        parts = []
        for epoch in used:
            networks = members_of(config, checkpoints.load_params(int(epoch)))
            rows = sequences[np.searchsorted(epochs, epoch)]
            parts.append(attacks.measure(setting, networks, rows))
        joined = store.stack(parts, "checkpoint")
        about = results["samples"]["epoch"]
        found["attacks"] = {"epoch": dataclasses.replace(about, values=used), **joined}
    if "advice" not in results and config.num_splits > 1:
        settings, splits = configs.AdviceConfig(), make_data(config)
        looks: list[Measurements] = [
            advice.look(config, settings, splits, checkpoints.load_params(int(epoch)), rows)
            for epoch, rows in zip(epochs, sequences, strict=True)
        ]
        joined = {"epoch": results["samples"]["epoch"], **store.stack(looks, "checkpoint")}
        found["advice"] = advice.with_advice(config, settings, splits, joined, sequences)
    return found


MOMENTS = ("tau_neighbour", "tau_test")


def _at_test_minimum(results: Mapping[str, Measurements], stage: str, name: str) -> np.ndarray:
    """Each network's value at the checkpoint nearest to its test-loss minimum, else the last."""
    if "onsets" not in results:
        return results[stage][name].values[-1]
    return values_at(results[stage], name, results["onsets"]["tau_test"].values)


def _bias(results: Mapping[str, Measurements]) -> Iterator[Number]:
    if "evaluation" in results:
        divergence = _at_test_minimum(results, "evaluation", "model_oracle")[:, 1, 0]
        yield over_networks(
            BIASED, "divergence from the exact denoiser at τ_test, nats per sequence", divergence
        )
    if "comparison" not in results:
        return
    if "gap" in results["comparison"]:
        gap = _at_test_minimum(results, "comparison", "gap")
        yield over_networks(BIASED, "own–other gap at τ_test, symbols", gap, 0.0)
    copies = _at_test_minimum(results, "comparison", "copies")
    fresh = float(results["comparison"]["copies_fresh"].values.mean())
    yield over_networks(BIASED, "copies among samples at τ_test, fraction", copies, fresh)


def _onsets(results: Mapping[str, Measurements]) -> Iterator[Number]:
    names = {
        "tau_neighbour": "τ_bias, minimum of the nearest-neighbour divergence, epochs",
        "tau_test": "τ_test, minimum of the test loss, epochs",
    }
    for tau, name in names.items():
        if tau in results.get("onsets", {}):
            number = over_networks(SINCE, name, np.log(results["onsets"][tau].values))
            back = {
                end: None if getattr(number, end) is None else float(np.exp(getattr(number, end)))
                for end in ("estimate", "low", "high")
            }
            yield dataclasses.replace(number, **back)


def _attacks(results: Mapping[str, Measurements]) -> Iterator[Number]:
    if "attacks" not in results:
        return
    measured = results["attacks"]
    excess = _at_test_minimum(results, "attacks", "reproduction")
    yield over_networks(
        EXTRACTED, "copies among samples − among fresh data at τ_test", excess[:, 0, 0], 0.0
    )
    for name, about in (
        ("num_claims", "sequences claimed from duplicates among samples at τ_test"),
        ("precision", "claims that are right at τ_test"),
        ("recall", "training sequences extracted so at τ_test"),
    ):
        values = _at_test_minimum(results, "attacks", name)
        chance = None if name == "num_claims" else float(values[:, 1].mean())
        yield over_networks(EXTRACTED, about, values[:, 0], chance)
    area = _at_test_minimum(results, "attacks", "auc")
    found = _at_test_minimum(results, "attacks", "tpr")
    for number, kind in enumerate(attacks.KINDS[: area.shape[1]]):
        name = f"AUC of the {kind} attack, mean over t, at τ_test"
        yield over_networks(GAINED, name, area[:, number, 1], 0.5)
        name = f"members found at 1 % false positives, {kind} attack, at τ_test"
        yield over_networks(GAINED, name, found[:, number, 1, 0], 0.01)
    if "epsilon" in measured:
        bound = _at_test_minimum(results, "attacks", "epsilon")[:, 1, 1]
        yield over_networks(GAINED, "ε refuted with 95 % confidence at τ_test", bound, 0.0)


def _stop(results: Mapping[str, Measurements]) -> Iterator[Number]:
    if "advice" not in results:
        return
    for signal, alarms in zip(advice.SIGNALS, results["advice"]["alarm"].values.T, strict=True):
        heard = alarms[np.isfinite(alarms)]
        note = f"alarm for {len(heard)} of {len(alarms)} pairs of networks; geometric mean"
        time = float(np.exp(np.log(heard).mean())) if len(heard) else np.inf
        yield Number(STOP, f"{signal}: first alarm, epochs", time, note=note)


def _curves(results: Mapping[str, Measurements]) -> Iterator[Curve]:
    def curve(panel: str, name: str, units: str, stage: str, measured: np.ndarray) -> Curve:
        trained, epochs = store.trained_checkpoints(results[stage])
        return Curve(panel, name, units, epochs, measured[trained])

    if "evaluation" in results:
        loss = results["evaluation"]["loss"].values
        for index, name in enumerate(("train", "test")):
            yield curve("loss", name, "nats per position", "evaluation", loss[:, :, index])
    if "comparison" in results:
        compared = results["comparison"]
        for name, label in (("copies", "copies"), ("near_copies", "near-copies")):
            yield curve("reproduction", label, "fraction", "comparison", compared[name].values)
        if "gap" in compared:
            yield curve("own–other gap", "gap", "symbols", "comparison", compared["gap"].values)
    if "attacks" in results:
        area = results["attacks"]["auc"].values
        for number, kind in enumerate(attacks.KINDS[: area.shape[2]]):
            yield curve("membership inference", kind, "AUC", "attacks", area[:, :, number, 1])


if __name__ == "__main__":
    runtime.prepare("runs")
    try:
        sys.stdout.write(f"{main(tyro.cli(Arguments))}\n")
    except ValueError as error:
        sys.exit(str(error))
