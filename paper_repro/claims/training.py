"""Claims of figures 1b and 6, and of 4a, 9 and 10 left: what happens when in training."""

from experiments.claim import Claim, Statistic
from paper_repro.claims.claim import (
    Run,
    at_times,
    border_note,
    gap_of_pairs,
    located,
    of_other_units,
    of_pairs_at,
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
    num_levels = run.onset("tau_level").shape[1]
    tau = [run.times("tau_level", level) for level in range(num_levels)]
    return [
        per_network(
            run,
            tau[level - 1] - tau[level],
            name=f"order-{level}-{level - 1}",
            figure=figure,
            statement=f"filter level k = {level} is fitted before k = {level - 1}",
            about=f"ln(τ_{level - 1} / τ_{level}), minima of the model–oracle divergences",
            note=border_note(**{f"τ_{k}": tau[k] for k in (level, level - 1)}),
            resolution=run.spacing("evaluation"),
        )
        for level in range(num_levels - 1, 0, -1)
    ]


def _parting_before_fit(run: Run, figure: str) -> list[Claim]:
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
            "what disjoint splits add to the divergence between seeds (likewise)",
        ),
    ):
        if f"tau_{name}" not in run.results["onsets"]:
            continue
        tau = run.times_of_pairs(f"tau_{name}")
        claims.append(
            per_pair(
                run,
                fit - tau,
                name=f"{name}-before-fit",
                figure=figure,
                statement=f"{what} is lowest while the networks still approach the exact denoiser",
                about=f"ln(τ_0 / τ_{name}), τ_0 the minimum of the model–oracle divergence",
                note=border_note(**{"τ_0": fit, f"τ_{name}": tau}),
                resolution=run.spacing("evaluation"),
            )
        )
    return claims


def _disagreement_is_from_data(run: Run, figure: str) -> Claim:
    """At the test-loss minimum, other data must matter more than another seed."""
    tau = run.times_of_pairs("tau_test")
    evaluation = run.results["evaluation"]
    excess = at_times(evaluation, "split_excess", tau)[:, 1]
    return per_pair(
        run,
        Statistic.known(excess, located(tau)),
        name="data-not-seed",
        figure=figure,
        statement="at the test-loss minimum, networks differ more between splits than between "
        "seeds",
        about="sample-split − same-data divergence on test inputs, nats per sequence",
        note=border_note(τ_test=tau),
    )


def _neighbour_before_test(run: Run, figure: str) -> Claim:
    test, bias = run.times("tau_test"), run.times("tau_neighbour")
    return per_network(
        run,
        test - bias,
        name="neighbour-before-test",
        figure=figure,
        statement="samples move towards the training set before the test loss is lowest",
        about="ln(τ_test / τ_bias), minima of test loss and nearest-neighbour divergence",
        note=border_note(τ_test=test, τ_bias=bias),
        resolution=run.spacing("evaluation", "comparison"),
    )


def _leaning_to_own_data(run: Run, figure: str) -> list[Claim]:
    """Bias measured without any floor: samples lie nearer to their own training set.

    Where bias sets in is taken from the other pairs: the nearest-neighbour divergence comes from
    the same samples as the gap, which would be low there by chance alone.
    """
    test = run.times_of_pairs("tau_test")
    bias = of_other_units(run.times_of_pairs("tau_neighbour"), run.num_splits // 2)
    at_test, at_bias = gap_of_pairs(run, test), gap_of_pairs(run, bias)
    about = "own–other gap in symbols, mean over both directions"
    return [
        per_pair(
            run,
            Statistic.known(at_test, located(test)),
            name="gap-at-test",
            figure=figure,
            statement="at the test-loss minimum, samples already lean to their own training set",
            about=about,
            note=border_note(τ_test=test),
        ),
        per_pair(
            run,
            Statistic.known(at_test - at_bias, located(test, bias)),
            name="gap-grows",
            figure=figure,
            statement="they lean to it more at the test-loss minimum than where bias sets in",
            about=f"{about}: τ_test − τ_bias of the other pairs",
            note=border_note(τ_test=test, τ_bias=bias),
        ),
    ]


def _copies_of_own_data(run: Run, figure: str) -> Claim:
    test = run.times_of_pairs("tau_test")
    whole_sequences = run.results["comparison"]["block_reproduction"].values[:, :, 0]
    return per_pair(
        run,
        Statistic.known(of_pairs_at(run, whole_sequences, test), located(test)),
        name="copies-own",
        figure=figure,
        statement="at the test-loss minimum, samples repeat sequences of their own training set "
        "more often",
        about="fraction of samples in the own split − in the other, mean over both directions",
        note=border_note(τ_test=test),
    )
