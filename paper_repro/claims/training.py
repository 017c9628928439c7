"""Claims of figures 1b and 6, and of 4a, 9 and 10 left: what happens when in training."""

import numpy as np

from hiermodel.measures.onset import paired_log_ratio
from paper_repro.claims.claim import (
    Claim,
    Run,
    border_note,
    gap_of_pairs,
    nearest_checkpoint,
    per_network,
    per_pair,
)


def along_training(run: Run, figure: str) -> list[Claim]:
    """What the stage "evaluation" can speak to (figure 1b)."""
    claims = [*_order_of_levels(run, figure), *_parting_before_fit(run, figure)]
    if "split_excess" in run.results["evaluation"]:
        claims.append(_disagreement_is_from_data(run, figure))
    return claims


def samples_along_training(run: Run, figure: str) -> list[Claim]:
    """What "comparison" can speak to as well (figure 4a)."""
    claims = [_neighbour_before_test(run, figure)]
    if "gap" in run.results["comparison"] and len(run.pairs):
        claims += [*_leaning_to_own_data(run, figure), _copies_of_own_data(run, figure)]
    return claims


def _order_of_levels(run: Run, figure: str) -> list[Claim]:
    """Levels are fitted in the order of decreasing k."""
    tau, located = run.onset("tau_level"), run.onset("tau_level_located")
    return [
        per_network(
            run,
            name=f"order-{level}-{level - 1}",
            figure=figure,
            statement=f"filter level k = {level} is fitted before k = {level - 1}",
            statistic=f"ln(τ_{level - 1} / τ_{level}), minima of the model–oracle divergences",
            values=paired_log_ratio(tau[:, level - 1], tau[:, level]),
            note=border_note(**{f"τ_{k}": located[:, k] for k in (level, level - 1)}),
        )
        for level in range(tau.shape[1] - 1, 0, -1)
    ]


def _parting_before_fit(run: Run, figure: str) -> list[Claim]:
    """The paper's sample-split minimum, and the same above the same-data control.

    Two networks also differ by their seeds. Where that noise is large, as in short trainings of
    small networks, it hides the minimum; subtracting the control takes it out.
    """
    fit = np.exp(np.log(run.onset("tau_level")[:, 0])[run.pairs].mean(1))
    located = run.onset("tau_level_located")[:, 0][run.pairs]
    return [
        per_pair(
            run,
            name=f"{name}-before-fit",
            figure=figure,
            statement=f"{what} is lowest while the networks still approach the exact denoiser",
            statistic=f"ln(τ_0 / τ_{name}), τ_0 the minimum of the model–oracle divergence",
            values=paired_log_ratio(fit, run.onset(f"tau_{name}")),
            note=border_note(**{"τ_0": located, f"τ_{name}": run.onset(f"tau_{name}_located")}),
        )
        for name, what in (
            ("split", "the divergence between networks of disjoint splits (after its transient)"),
            ("excess", "what disjoint splits add to the divergence between seeds"),
        )
        if f"tau_{name}" in run.results["onsets"]
    ]


def _disagreement_is_from_data(run: Run, figure: str) -> Claim:
    """At the test-loss minimum, other data must matter more than another seed."""
    evaluation = run.results["evaluation"]
    when = nearest_checkpoint(evaluation, run.onset("tau_test"))
    return per_pair(
        run,
        name="data-not-seed",
        figure=figure,
        statement="at the test-loss minimum, networks differ more between splits than between "
        "seeds",
        statistic="sample-split − same-data divergence on test inputs, nats per sequence",
        values=evaluation["split_excess"].values[when, :, 1],
    )


def _neighbour_before_test(run: Run, figure: str) -> Claim:
    return per_network(
        run,
        name="neighbour-before-test",
        figure=figure,
        statement="samples move towards the training set before the test loss is lowest",
        statistic="ln(τ_test / τ_bias), minima of test loss and nearest-neighbour divergence",
        values=paired_log_ratio(run.onset("tau_test"), run.onset("tau_neighbour")),
        note=run.located(τ_test="tau_test", τ_bias="tau_neighbour"),
    )


def _leaning_to_own_data(run: Run, figure: str) -> list[Claim]:
    """Bias measured without any floor: samples lie nearer to their own training set."""
    at_test, at_bias = (gap_of_pairs(run, name) for name in ("tau_test", "tau_neighbour"))
    statistic = "own–other gap in symbols, mean over both directions"
    return [
        per_pair(
            run,
            name="gap-at-test",
            figure=figure,
            statement="at the test-loss minimum, samples already lean to their own training set",
            statistic=statistic,
            values=at_test,
        ),
        per_pair(
            run,
            name="gap-grows",
            figure=figure,
            statement="they lean to it more at the test-loss minimum than where bias sets in",
            statistic=f"{statistic}: τ_test − τ_bias",
            values=at_test - at_bias,
        ),
    ]


def _copies_of_own_data(run: Run, figure: str) -> Claim:
    comparison = run.results["comparison"]
    when = nearest_checkpoint(comparison, run.onset("tau_test"))
    whole_sequences = comparison["block_reproduction"].values[when, :, 0]
    return per_pair(
        run,
        name="copies-own",
        figure=figure,
        statement="at the test-loss minimum, samples repeat sequences of their own training set "
        "more often",
        statistic="fraction of samples in the own split − in the other, mean over both directions",
        values=whole_sequences[run.pairs].mean(1),
    )
