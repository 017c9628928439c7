"""How far advice lies from what is known of a run: its distance, its cost and its use."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from experiments.configs import RunConfig
from experiments.stages.advice import SIGNALS
from experiments.stages.evaluation import split_pairs
from experiments.store import Measurements, trained_checkpoints
from experiments.words import number_text


def score_advice(config: RunConfig, results: Mapping[str, Measurements]) -> list[dict[str, Any]]:
    """A row per signal and pair of networks on disjoint splits; and per pair, whichever signal.

    There are two rules: stop at the first alarm and keep the networks as they are then; or go back
    to the last checkpoint before the time at which, by the signal, bias began.

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
        for place, name in [*enumerate(SIGNALS), (first, ANY)]:
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


ANY = "any sign of bias"


def score_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Means over pairs, by signal; of times, over those that raised an alarm."""
    scored = pd.DataFrame(rows)
    by_signal = scored.groupby("signal", sort=False)
    table = by_signal.mean(numeric_only=True).drop(columns=["pair", "alarmed"])
    table.insert(0, "pairs", by_signal.size())
    table.insert(1, "alarmed", by_signal["alarmed"].sum())
    table["since_spread"] = by_signal["since"].std(ddof=0)
    return table


def advice_table(scored: pd.DataFrame) -> pd.DataFrame:
    """The same for a page."""

    def both(row: pd.Series, rule: str) -> str:
        names = (f"loss_given_up_{rule}", f"reproduction_avoided_{rule}")
        return ", ".join(number_text(row[name], 2) for name in names)

    return pd.DataFrame(
        {
            "signal": signal,
            "alarms": f"{row['alarmed']:.0f} of {row['pairs']:.0f}",
            "ln(alarm / τ)": number_text(row["alarm"], 2),
            "ln(since / τ)": number_text(row["since"], 2),
            "its spread": number_text(row["since_spread"], 2),
            "stopped at the alarm: test loss given up, copies avoided": both(row, "stopping"),
            "gone back to before “since”: the same": both(row, "going_back"),
        }
        for signal, row in scored.iterrows()
    )
