"""Figure 1b: which levels are learned when, and when networks of disjoint splits part ways."""

import functools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.claim import Claim, Statistic
from experiments.onsets import TEST, TRAIN, beaten_levels
from figures import style
from figures.claims import Run, at_times, per_network, per_pair
from figures.figure import FigureSpec
from figures.style import Results

CAPTION = (
    "Divergences along training, on noised training and test sequences: coloured, "
    "KL from the denoiser of filter level k, from the coarsest (light) to the exact one (dark); "
    "dashed, between networks of disjoint splits. Then, on test sequences: between networks of "
    "disjoint splits (dashed), of the same split (dotted), and what disjoint splits add to it "
    "(solid); thick, between networks of all different training sets, both orders averaged. Dotted "
    "lines: what the oracle of the level is from the exact one; below it, k = 0 beats that level. "
    f"{style.BANDS}; {style.MINIMA}."
)

STAGES = ("evaluation",)


SPLIT_CURVES = (
    ("sample_split", "--", "disjoint splits"),
    ("same_data", ":", "same split"),
    ("split_excess", "-", "difference"),
)


def draw(results: Mapping[str, Results]) -> Figure:
    """Draw the figure from the stage "evaluation" of each run, by its label."""
    figure = style.draw_runs(results, PANELS, 2.3, alike=(0, 1))
    style.legend_below(figure, figure.axes)
    return figure


def _draw_set(axis: Axes, results: Results, index: int) -> None:
    _draw_levels(axis, results, index)
    _draw_splits(axis, results, index, SPLIT_CURVES[:1])
    if index == TEST:
        _draw_oracle_lines(axis, results)
    style.log_height(axis)
    axis.set_ylabel("KL divergence\n(nats per sequence)\n↓ nearer the oracle")
    style.training_axis(axis)


def _draw_oracle_lines(axis: Axes, results: Results) -> None:
    """Where the curve of k = 0 is below the line of k, networks beat that oracle."""
    if "oracle_line" not in results["evaluation"]:
        return
    heights = results["evaluation"]["oracle_line"].values
    for level in range(1, len(heights)):
        color = style.level_color(level, len(heights))
        axis.axhline(heights[level], color=color, lw=0.8, ls=":")


def _draw_networks(axis: Axes, results: Results) -> None:
    _draw_splits(axis, results, 1, SPLIT_CURVES)
    _draw_all_pairs(axis, results)
    _mark_splits(axis, results)
    axis.axhline(0, color=style.GREY, lw=0.8)
    axis.set_ylabel("(nats per sequence)\n↓ more alike")
    style.training_axis(axis)


def _draw_levels(axis: Axes, results: Results, index: int) -> None:
    """Model–oracle divergence of every filter level, on one of the sets; minima on test."""
    x, oracle = style.along_training(results, "evaluation", "model_oracle")
    num_levels = oracle.shape[-1]
    for level in reversed(range(num_levels)):
        color, curves = style.level_color(level, num_levels), oracle[:, :, index, level]
        style.curve_with_band(axis, x, curves, color=color, label=f"$k={level}$")
        if index == TEST:
            style.mark_minimum(axis, results, "tau_level", x, curves, color, level)


def _draw_splits(axis: Axes, results: Results, index: int, curves) -> None:
    for name, line, label in curves:
        if name in results["evaluation"]:
            share = style.by_set if name == "same_data" else style.by_pair
            x, values = style.along_training(results, "evaluation", name, share)
            values = values[:, :, index]
            style.curve_with_band(axis, x, values, color=style.VERMILION, ls=line, label=label)


def _draw_all_pairs(axis: Axes, results: Results) -> None:
    """Divergence between networks of different training sets, all pairs, both orders."""
    if "split_divergence" not in results["evaluation"]:
        return
    x, curves = style.along_training(results, "evaluation", "split_divergence")
    style.curve_with_band(axis, x, curves, color=style.VERMILION, label="all training sets", lw=2)
    style.mark_minimum(axis, results, "tau_turn", x, curves, style.VERMILION)


def _mark_splits(axis: Axes, results: Results) -> None:
    for tau, name in (("tau_split", "sample_split"), ("tau_excess", "split_excess")):
        if tau in results["onsets"] and style.onset(results, tau)[1].any():
            x, curves = style.along_training(results, "evaluation", name)
            style.mark_minimum(axis, results, tau, x, curves[:, :, TEST], style.VERMILION)


PANELS: tuple[style.Panel, ...] = (
    ("training sequences", STAGES, functools.partial(_draw_set, index=TRAIN)),
    ("test sequences", STAGES, functools.partial(_draw_set, index=TEST)),
    ("test, between networks", STAGES, _draw_networks),
)


def along_training(run: Run) -> list[Claim]:
    """What the stage "evaluation" can speak to (figure 1b)."""
    claims = [*_order_of_levels(run), *_parting_before_fit(run)]
    if "oracle_line" in run.results["evaluation"]:
        claims += _beaten_levels_in_order(run)
    if "tau_turn" in run.results["onsets"]:
        claims.append(_turn_before_test(run))
    if "split_excess" in run.results["evaluation"]:
        claims.append(_disagreement_is_from_data(run))
    return claims


def _order_of_levels(run: Run) -> list[Claim]:
    """Levels are fitted in the order of decreasing k."""
    num_levels = run.onset("tau_level").shape[1]
    tau = [run.times("tau_level", level) for level in range(num_levels)]
    return [
        per_network(
            run,
            tau[level - 1] - tau[level],
            minima={f"τ_{k}": tau[k] for k in (level, level - 1)},
            name=f"order-{level}-{level - 1}",
            statement=f"filter level k = {level} is fitted before k = {level - 1}",
            about=f"ln(τ_{level - 1} / τ_{level}), minima of the model–oracle divergences",
            resolution=run.spacing("evaluation"),
        )
        for level in range(num_levels - 1, 0, -1)
    ]


def _beaten_levels_in_order(run: Run) -> list[Claim]:
    """The order of the levels that networks have learned: of others it is that of overfitting."""
    levels = beaten_levels(run.results["evaluation"])
    beaten = [level for level, is_beaten in levels.items() if is_beaten]
    if not beaten:
        return []
    tau = [run.times_of_sets("tau_level", level) for level in range(max(beaten) + 1)]
    steps = [tau[level - 1] - tau[level] for level in beaten]
    least = Statistic(
        *(
            np.min([getattr(step, part) for step in steps], 0)
            for part in ("values", "lower", "upper")
        )
    )
    named = ", ".join(f"k = {level}" for level in reversed(beaten))
    return [
        per_network(
            run,
            least,
            name="beaten-levels-in-order",
            statement="every filter level that networks beat turns before the next finer one",
            minima={f"τ_{k}": each for k, each in enumerate(tau)},
            about=f"least of ln(τ_(k−1) / τ_k) over those levels ({named})",
            resolution=run.spacing("evaluation"),
            primary=True,
        )
    ]


def _turn_before_test(run: Run) -> Claim:
    turn, test = run.times_of_sets("tau_turn"), run.times_of_sets("tau_test")
    return per_network(
        run,
        test - turn,
        minima={"τ_test": test, "τ_turn": turn},
        name="turn-before-test",
        statement="networks of different training sets begin to part while the test loss falls",
        about="ln(τ_test / τ_turn), minima of test loss and of the divergence from networks of all "
        "other training sets (after its transient)",
        resolution=run.spacing("evaluation"),
        primary=True,
    )


def _parting_before_fit(run: Run) -> list[Claim]:
    """The paper's sample-split minimum, and the same above the same-data control.

    Two networks also differ by their seeds. Where that noise is large, as in short trainings of
    small networks, it hides the minimum; subtracting the control takes it out. Both are searched
    after the transient, since untrained networks agree whatever they were trained on.
    """
    fit = run.times_of_pairs("tau_level", 0)
    claims = []
    for name, what in (
        ("split", "the divergence between networks of disjoint splits (after its transient)"),
        (
            "excess",
            "what disjoint splits add to the divergence between seeds (after the same transient)",
        ),
    ):
        if f"tau_{name}" not in run.results["onsets"]:
            continue
        tau = run.times_of_pairs(f"tau_{name}")
        claims.append(
            per_pair(
                run,
                fit - tau,
                minima={"τ_0": fit, f"τ_{name}": tau},
                name=f"{name}-before-fit",
                statement=f"{what} is lowest while the networks still approach the exact denoiser",
                about=f"ln(τ_0 / τ_{name}), τ_0 the minimum of the model–oracle divergence",
                resolution=run.spacing("evaluation"),
            )
        )
    return claims


def _disagreement_is_from_data(run: Run) -> Claim:
    """At the test-loss minimum, other data must matter more than another seed."""
    tau = run.times_of_pairs("tau_test")
    evaluation = run.results["evaluation"]
    excess = at_times(evaluation, "split_excess", tau)[:, 1]
    return per_pair(
        run,
        excess,
        minima={"τ_test": tau},
        name="data-not-seed",
        statement="at the test-loss minimum, networks differ more between splits than between "
        "seeds",
        about="sample-split − same-data divergence on test inputs, nats per sequence",
    )


FIGURE = FigureSpec(
    title="Figure 1b",
    content="divergence from the denoiser of every filter level, and between networks of disjoint "
    "splits, along training; a part for each size of the training sets",
    caption=CAPTION,
    sizes=("small", "middle", "large"),
    stages=STAGES,
    draw=draw,
    claims=((STAGES, along_training),),
    also=("6",),
)
