"""How far advice lies from what is known of a run: its distance, its cost and its use."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.configs import RunConfig
from experiments.stages.advice import SIGNALS
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements, trained_checkpoints


def score_advice(config: RunConfig, results: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """One row per pair of networks of disjoint splits and signal, and per pair for any of them.

    There are two rules: stop at the first alarm, with the networks as they are then; or go back to
    the checkpoint before the one since when the signal says that bias has been there.

    Args:
        config: the run.
        results: its stages "onsets", "advice" and "tradeoff".

    Returns:
        Rows with, of a pair: ``signal``; ``alarm`` and ``since``, ln of the ratio to the pair's
        τ_bias, NaN if there was no alarm; for the signal "test loss" the ratio to τ_test instead;
        for each rule, ``stopping`` and ``going_back``: ``loss_given_up_…``, test loss of the
        networks kept − at its minimum, nats per position; ``reproduction_avoided_…``, excess copies
        there − of the networks kept. Without an alarm the last networks are kept.
    """
    advice, onsets = results["advice"], results["onsets"]
    trained, epochs = trained_checkpoints(results["tradeoff"])
    loss, copies = (
        results["tradeoff"][name].values[trained]
        for name in ("loss_network", "reproduction_network")
    )
    rows = []
    for number, pair in enumerate(split_pairs(config.num_splits, config.num_seeds)):
        both = list(pair)
        tau = {
            name: np.log(onsets[name].values[both]).mean() for name in ("tau_neighbour", "tau_test")
        }
        own_loss, own_copies = loss[:, both].mean(1), copies[:, both, 0].mean(1)
        best = int(own_loss.argmin())
        alarm, since = (advice[name].values[number] for name in ("alarm", "since"))
        first = 1 + int(alarm[1:].argmin())
        for place, name in [*enumerate(SIGNALS), (first, "any sign of bias")]:
            row = {"signal": name, "pair": number, "alarmed": bool(np.isfinite(alarm[place]))}
            against = tau["tau_test" if name == "test loss" else "tau_neighbour"]
            for what, time in (("alarm", alarm[place]), ("since", since[place])):
                row[what] = float(np.log(time) - against) if row["alarmed"] else np.nan
            before = np.flatnonzero(epochs < since[place])
            kept = {"stopping": len(epochs) - 1, "going_back": len(epochs) - 1}
            if row["alarmed"]:
                kept["stopping"] = int(np.searchsorted(epochs, alarm[place]))
                kept["going_back"] = int(before[-1]) if len(before) else 0
            for rule, look in kept.items():
                row[f"loss_given_up_{rule}"] = float(own_loss[look] - own_loss[best])
                row[f"reproduction_avoided_{rule}"] = float(own_copies[best] - own_copies[look])
            rows.append(row)
    return rows


def score_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over pairs, by signal: what the README shows."""
    table = []
    for name in (*SIGNALS, "any sign of bias"):
        own = [row for row in rows if row["signal"] == name]
        heard = [row for row in own if row["alarmed"]]

        def mean(what: str, of: list[dict[str, Any]]) -> float | None:
            return float(np.mean([row[what] for row in of])) if of else None

        spread = np.std([row["since"] for row in heard]) if heard else None
        table.append(
            {
                "signal": name,
                "pairs": len(own),
                "alarmed": len(heard),
                "alarm": mean("alarm", heard),
                "since": mean("since", heard),
                "since_spread": None if spread is None else float(spread),
                **{
                    f"{what}_{rule}": mean(f"{what}_{rule}", own)
                    for rule in ("stopping", "going_back")
                    for what in ("loss_given_up", "reproduction_avoided")
                },
            }
        )
    return table
