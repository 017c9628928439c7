"""The settings of every scale, and what they cost."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments import configs
from experiments.costs import cost, forward_operations
from experiments.progress import stages_with_needs
from hiermodel.networks.learned import apply, init_params
from hiermodel.networks.transformer import TransformerConfig
from paper_repro.protocol import FIGURES, SCALES, SIZES, protocol

PROJECT = Path(__file__).parents[2]


def test_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale='huge'.*laptop.*paper.*smoke"):
        protocol("huge")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_all_that_the_figures_need(scale):
    settings = protocol(scale)
    assert tuple(settings.sizes) == SIZES
    for own in settings.sizes.values():
        assert set(own.stages) == {
            "decomposition",
            "along_time",
            "u_turns",
            "random_u_turns",
            "levels",
        }
    sizes = [own.run.split_size for own in settings.sizes.values()]
    assert sizes == sorted(set(sizes))
    assert {size for spec in FIGURES.values() for size in spec.sizes} == set(SIZES)


def test_paper_scale_holds_the_papers_numbers():
    sizes = protocol("paper").sizes
    assert [own.run.split_size for own in sizes.values()] == [5000, 12_000, 70_000]
    epochs = [own.run.training.num_epochs for own in sizes.values()]
    assert epochs == [20_000, 30_000, 35_000]
    for own in sizes.values():
        run, network, training = own.run, own.run.network, own.run.training
        assert (run.num_splits, run.num_seeds) == (15, 2)
        assert (run.num_steps, run.first_checkpoint, run.num_checkpoints) == (500, 100, 25)
        assert (network.width, network.num_layers, network.num_heads) == (512, 8, 4)
        assert (network.dropout, network.pre_norm) == (0.1, False)
        assert (training.batch_size, training.learning_rate) == (512, 3e-4)
        assert (own.evaluation.num_sequences, own.evaluation.num_noises) == (3000, 5)
        assert own.evaluation.relative_time == 0.15
        assert own.generation.num_samples == 50_000
        assert own.stages["decomposition"].relative_time == 0.3
        u_turns = own.stages["u_turns"]
        assert u_turns.relative_times == (0.01, 0.03, 0.05, 0.085, 0.12)
        assert (u_turns.num_sequences, u_turns.num_noises) == (1000, 100)


def test_the_committed_results_are_of_todays_laptop_run():
    summary = json.loads((PROJECT / "figures/gallery/report.json").read_text())
    run = protocol("laptop").sizes["middle"].run
    assert summary["runs"]["middle"]["identity"] == configs.identity(run)


def test_another_seed_changes_every_run_and_nothing_else():
    ours, theirs = protocol("laptop"), protocol("laptop").with_seed(7)
    for size in SIZES:
        before, after = ours.sizes[size], theirs.sizes[size]
        assert after.run == dataclasses.replace(before.run, seed=7)
        assert after.stages == before.stages


def test_operations_of_a_network_are_those_that_are_compiled():
    network = TransformerConfig(num_leaves=8, vocab_size=6, width=64, num_layers=2, dropout=0.0)
    params = init_params(jax.random.key(0), network)
    x_t, t = jnp.zeros((64, 8, 6)), jnp.ones(64, jnp.int32)
    compiled = jax.jit(lambda *a: apply(network, *a)).lower(params, x_t, t).compile()
    flops = compiled.cost_analysis()["flops"] / 64
    # Softmax, normalisation and activations come on top of the products.
    assert forward_operations(network) == pytest.approx(flops, rel=0.25)


def test_cost_is_proportional_to_what_is_trained():
    own = protocol("laptop").sizes["middle"]
    longer = dataclasses.replace(
        own,
        run=dataclasses.replace(
            own.run, training=dataclasses.replace(own.run.training, num_epochs=3000)
        ),
    )
    stages = stages_with_needs(("u_turns",))
    assert stages == ["evaluation", "samples", "comparison", "u_turns"]
    one, two = cost(own, stages), cost(longer, stages)
    assert two.operations["train"] == 2 * one.operations["train"]
    assert one.operations["train"] == 3 * 8 * 1500 * 112 * forward_operations(own.run.network)
    assert one.disk > 8 * 12 * 1000 * 8  # samples alone
