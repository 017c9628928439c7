"""Axes expand to the points that they say, and points to configurations."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tiny import BASE, MEASURES

from experiments import configs
from experiments.study import Grid, Study, Variants, Zipped, log_spaced, random_points
from experiments.study.axes import product, value_at, with_values
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig


def study(*axes, **more) -> Study:
    return Study("a", "what?", BASE, axes, MEASURES, **more)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_a_product_has_every_combination_once_and_the_last_axis_changes_fastest(sizes):
    points = product([Grid(f"p{i}", tuple(range(size))) for i, size in enumerate(sizes)])
    keys = [tuple(point.values()) for point in points]
    assert len(set(keys)) == math.prod(sizes) == len(keys)
    assert keys == sorted(keys)


@given(st.floats(1e-6, 1e3), st.floats(1.5, 1e6), st.integers(2, 12))
def test_log_spaced_values_hold_both_ends_and_have_equal_ratios(low, factor, count):
    values = [point["p"] for point in log_spaced("p", low, low * factor, count).points()]
    assert (values[0], values[-1], len(values)) == (low, low * factor, count)
    np.testing.assert_allclose(np.diff(np.log(values)), math.log(factor) / (count - 1), rtol=1e-6)


def test_log_spaced_integers_are_whole_and_different():
    values = [point["p"] for point in log_spaced("p", 1, 8, 12, integer=True).points()]
    assert values == [1, 2, 3, 4, 5, 7, 8] or values == sorted(set(values))
    assert all(isinstance(value, int) for value in values)


@given(st.integers(0, 100), st.integers(1, 20))
def test_random_points_lie_in_their_ranges_and_stay_when_more_are_drawn(seed, count):
    laws = {"a": stats.loguniform(0.001, 0.1), "b": stats.randint(2, 6), "c": stats.uniform(-1, 2)}
    points = random_points(laws, count, seed=seed).points()
    assert random_points(laws, count + 3, seed=seed).points()[:count] == points
    for point in points:
        assert 0.001 <= point["a"] < 0.1
        assert point["b"] in (2, 3, 4, 5)
        assert -1 <= point["c"] < 1


def test_random_integers_reach_both_ends_equally_often():
    values = [point["p"] for point in random_points({"p": stats.randint(2, 6)}, 4000).points()]
    assert {type(value) for value in values} == {int}
    counts = np.bincount(values, minlength=6)[2:]
    # Four standard deviations of a binomial count: false alarm in one of 4000 seeds.
    assert np.all(np.abs(counts - 1000) < 4 * math.sqrt(4000 * 0.25 * 0.75))


def test_zipped_values_move_together():
    axis = Zipped({"split_size": (8, 16), "training.num_epochs": (40, 80)})
    runs = study(axis).runs()
    assert [(run.split_size, run.training.num_epochs) for run in runs] == [(8, 40), (16, 80)]


def test_variants_change_what_they_name_and_are_called_so():
    rates = {"slow": {"training.learning_rate": 0.001}, "as it is": {}, "few": {"split_size": 4}}
    made = study(Variants("speed", rates), seeds=(BASE.seed,))
    slow, base, few = made.runs()
    assert base == BASE
    assert slow == with_values(BASE, {"training.learning_rate": 0.001})
    assert few.split_size == 4
    assert [made.name_of(run) for run in made.runs()] == list(rates)
    assert made.settings(slow) == {"speed": "slow", "seed": BASE.seed}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Zipped({"a": (1, 2), "b": (1,)}), "same length"),
        (lambda: Grid("a", ()), "at least one value"),
        (lambda: Grid("a", (1, 1)), "different values"),
        (lambda: log_spaced("a", 0, 1, 3), "positive"),
        (lambda: random_points({"a": stats.loguniform(0, 1)}, 2), "a law with finite quantiles"),
        (lambda: product([Grid("a", (1,)), Zipped({"a": (2,)})]), "no other axis"),
        (lambda: with_values(BASE, {"trainings.rate": 1}), "a field of RunConfig"),
        (lambda: with_values(BASE, {"split_size.more": 1}), "no deeper"),
        (lambda: study(Grid("training.learning_rate", (-1.0,))).runs(), "rate = -1.0 is not poss"),
        (lambda: study(against=("split_size",)), "out of what is varied"),
        (lambda: Study("a/b", "?", BASE, (), MEASURES), "name"),
        (lambda: Study("a", "?", BASE, (), {"evaluations": 1}), "evaluations"),
        (lambda: Study("a", "?", BASE, (), {"evaluation": 1}), "EvaluationConfig"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_only_what_a_path_names_changes():
    changed = with_values(BASE, {"training.learning_rate": 0.5, "data.sigma": 2.0})
    assert value_at(changed, "training.learning_rate") == 0.5
    back = with_values(changed, {"training.learning_rate": 0.01, "data.sigma": 1.0})
    assert back == BASE


def test_networks_follow_the_grammar():
    runs = study(Grid("data.depth", (1, 3)), Grid("data.vocab_size", (4, 5))).runs()
    sizes = [(run.network.num_leaves, run.network.vocab_size) for run in runs]
    assert sizes == [(2, 4), (2, 5), (8, 4), (8, 5)]


def test_trees_of_networks_follow_the_grammar():
    networks = (TreeUNetConfig(depth=2, branching=2, vocab_size=4, width=8),)
    runs = study(Grid("network", networks), Grid("data.depth", (1, 3))).runs()
    assert [(run.network.depth, run.network.num_leaves) for run in runs] == [(1, 2), (3, 8)]


def test_whole_architectures_may_be_varied_and_changed_further():
    networks = (TransformerConfig(4, 4, width=8, num_layers=1), MLPConfig(4, 4, width=8))
    runs = study(Grid("network", networks), Grid("network.dropout", (0.0, 0.2))).runs()
    kinds = [(type(run.network).__name__, run.network.dropout) for run in runs]
    assert kinds == [
        ("TransformerConfig", 0.0),
        ("TransformerConfig", 0.2),
        ("MLPConfig", 0.0),
        ("MLPConfig", 0.2),
    ]


def test_a_function_may_derive_settings_from_others():
    def longer(run):
        training = dataclasses.replace(run.training, num_epochs=10 * run.split_size)
        return dataclasses.replace(run, training=training)

    runs = study(Grid("split_size", (4, 8)), derive=longer).runs()
    assert [run.training.num_epochs for run in runs] == [40, 80]


def test_seeds_multiply_runs_and_equal_runs_stand_once():
    def same(run):
        return dataclasses.replace(run, split_size=8)

    axis = Grid("split_size", (4, 8))
    assert [run.seed for run in study(axis, seeds=(1, 2)).runs()] == [1, 1, 2, 2]
    assert len(study(axis, derive=same).runs()) == 1


def test_the_same_run_of_two_studies_has_one_identity():
    ours = study(Grid("split_size", (8, 16))).runs()
    theirs = study(Zipped({"split_size": (16,), "test_size": (8,)})).runs()
    assert configs.identity(ours[1]) == configs.identity(theirs[0])
