"""The settings of every scale, and what they cost."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from experiments import configs
from experiments.costs import EFFICIENCY, cost, forward_operations
from experiments.runs.training import open_run
from experiments.stages.registry import complete_settings, context_of, stages_of
from experiments.worlds.images import load_images
from figures.figure import all_figures
from hiermodel.networks.transformer import TransformerConfig
from paper_repro.job import ALL_SIZES, IMAGE_SIZES, SIZES
from paper_repro.protocol import SCALES, figures_without_images, protocol

PROJECT = Path(__file__).parents[2]


def test_unknown_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale='huge'.*laptop.*paper.*smoke"):
        protocol("huge")


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_all_that_the_figures_need(scale):
    settings = protocol(scale)
    assert list(settings.sizes) == [size for size in ALL_SIZES if size in settings.sizes]
    sizes = [settings.sizes[size].run.split_size for size in SIZES]
    assert sizes == sorted(set(sizes))
    for own in settings.sizes.values():
        complete_settings(own.run, own.stages)  # no stage that does not exist
    for spec in all_figures().values():
        for size in set(spec.sizes) & set(settings.sizes):
            assert set(spec.stages) <= set(stages_of(settings.sizes[size].run))
    assert {size for spec in all_figures().values() for size in spec.sizes} == set(ALL_SIZES)


def test_paper_scale_holds_the_papers_numbers():
    everything = protocol("paper").sizes
    sizes = {size: everything[size] for size in SIZES}
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
        stages = complete_settings(run, own.stages)
        evaluation = stages["evaluation"]
        assert (evaluation.num_examples, evaluation.num_noises) == (3000, 5)
        assert evaluation.relative_time == 0.15
        assert stages["samples"].num_samples == 50_000
        assert stages["decomposition"].relative_time == 0.3
        u_turns = stages["u_turns"]
        assert u_turns.relative_times == (0.01, 0.03, 0.05, 0.085, 0.12)
        assert (u_turns.num_sequences, u_turns.num_noises) == (1000, 100)


def test_paper_scale_with_tree_networks_keeps_the_papers_data_and_measures():
    ours, theirs = protocol("paper", "tree").sizes, protocol("paper").sizes
    for size in (*SIZES, "fresh"):
        own, other = ours[size], theirs[size]
        network, training = own.run.network, own.run.training
        assert (network.depth, network.branching, network.width) == (4, 2, 128)
        assert (training.rate_schedule, training.ema_decays) == ("constant", (0.998,))
        same = dataclasses.replace(own.run, network=other.run.network, training=other.run.training)
        assert same == other.run
        assert own.stages == other.stages
    with pytest.raises(ValueError, match="network='tree'"):
        protocol("laptop", "tree")


def test_the_committed_results_are_of_todays_runs():
    found = 0
    for file in (PROJECT / "figures/gallery").glob("*/report.json"):
        summary = json.loads(file.read_text())
        for size, run in summary["runs"].items():
            own = protocol(summary["scale"]).sizes[size].run
            assert run["identity"] == configs.identity(own), (file, size)
            found += 1
    assert found


def test_another_seed_changes_every_run_and_nothing_else():
    ours, theirs = protocol("laptop"), protocol("laptop").with_seed(7)
    for size in ours.sizes:
        before, after = ours.sizes[size], theirs.sizes[size]
        assert after.run == dataclasses.replace(before.run, seed=7)
        assert after.stages == before.stages


def test_a_networks_operations_are_those_of_its_matrix_products():
    network = TransformerConfig(num_leaves=8, vocab_size=6, width=64, num_layers=2, dropout=0.0)
    block = 8 * 64**2 + 4 * 8 * 64 + 8 * 64**2  # attention, its scores, feed-forward
    products = 8 * (2 * block + 4 * 6 * 64)
    # Softmax, normalisation and activations come on top of the products.
    assert forward_operations(network) == pytest.approx(products, rel=0.25)
    assert forward_operations(network) > products


def test_cost_is_measured_where_finished_and_else_proportional_to_what_is_trained(tmp_path):
    own = protocol("laptop").sizes["middle"]
    longer = dataclasses.replace(
        own,
        run=dataclasses.replace(
            own.run,
            training=dataclasses.replace(
                own.run.training, num_epochs=2 * own.run.training.num_epochs
            ),
        ),
    )
    one, two = (cost(each, ["train"], tmp_path) for each in (own, longer))
    assert two.operations == 2 * one.operations
    run = own.run
    visits = run.num_splits * run.num_seeds * run.training.num_epochs * run.split_size
    assert one.operations == 3 * visits * forward_operations(run.network)
    assert (one.spent, one.seconds_left(1.0)) == (0.0, one.operations / EFFICIENCY / 1e9)
    finished = open_run(own.run, tmp_path)
    with finished.timed("levels"):
        pass
    context = context_of(own, tmp_path)
    context.file("levels").parent.mkdir()
    context.file("levels").touch()
    measured = cost(own, ["levels"], tmp_path)
    assert measured.operations == 0
    assert measured.spent == finished.timings()["levels"]


def test_paper_scale_holds_the_papers_numbers_of_images():
    run = protocol("paper").sizes["images"].run
    assert (run.num_splits, run.num_seeds, run.split_size, run.num_steps) == (15, 1, 1024, 1000)
    network, training = run.network, run.training
    assert (network.height, network.width, network.channels, network.base_width) == (32, 32, 1, 32)
    assert (training.learning_rate, training.batch_size) == (1e-4, 512)
    assert training.num_epochs * run.split_size // training.batch_size == 10_000
    stages = complete_settings(run, protocol("paper").sizes["images"].stages)
    assert stages["samples"].num_samples == 512


def test_figures_are_those_of_which_a_scale_has_a_run():
    assert {"4a", "networks"} <= set(figures_without_images("smoke"))
    assert "networks" not in figures_without_images("laptop")
    assert {"1a", "2"} & set(figures_without_images("desk")) == set()


def test_paper_scale_without_images_leaves_their_figures_out(tmp_path):
    assert {"1a", "2"} & set(figures_without_images("paper")) == set()
    assert {"1a", "2"} <= set(figures_without_images("laptop"))
    with pytest.raises(ValueError, match="images"):
        load_images(protocol("paper").sizes["images"].run.data)


def test_images_of_ones_own_take_the_place_of_the_digits(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3)).astype(np.uint8)
    np.save(tmp_path / "mine.npy", images)
    digits = protocol("laptop")
    mine = digits.with_images(tmp_path / "mine.npy", tmp_path, progress=False)
    assert digits.with_images(None, tmp_path) is digits
    for size in IMAGE_SIZES:
        network, data = mine.sizes[size].run.network, mine.sizes[size].run.data
        assert network.target.event_shape == (96, 3)
        assert data.filtering == digits.sizes[size].run.data.filtering
        assert load_images(data).shape == images.shape
    assert mine.sizes["middle"] == digits.sizes["middle"]


def test_operations_of_a_unet_grow_with_its_images():
    small = protocol("smoke").sizes["images"].run.network
    large = dataclasses.replace(small, height=16, width=16)
    # Attention grows faster than its images, all else in proportion.
    assert 3.5 < forward_operations(large) / forward_operations(small) < 6
