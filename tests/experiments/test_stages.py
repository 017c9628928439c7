"""Every measuring stage and every figure, from one tiny trained ensemble."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from oracles import FALSE_ALARM

import hiermodel as hm
from experiments import configs
from experiments.configs import Protocol
from experiments.measure import load_finished, measure_run
from experiments.onsets import nearest_epochs
from experiments.runs.data import make_data, run_key
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, train_run
from experiments.stages import decomposition, u_turns
from experiments.stages.along_time import AlongTimeConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.examination import ExaminationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.levels import LevelsConfig
from experiments.stages.pipeline import Recipe, along_checkpoints, make
from experiments.stages.refitted import RefittedConfig
from experiments.stages.registry import context_of
from experiments.store import Measurement
from experiments.worlds.grammar import GrammarConfig
from figures import style
from figures.figure import all_figures
from hiermodel.measures import decompose_loss, denoiser_divergence
from hiermodel.networks.learned import LearnedDenoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.state import TrainingConfig

RUN = configs.RunConfig(
    data=GrammarConfig("random", vocab_size=6, depth=2, rules_per_symbol=3),
    network=MLPConfig(num_leaves=4, vocab_size=6, width=32, num_blocks=1),
    training=TrainingConfig(num_epochs=64, batch_size=16, learning_rate=5e-3),
    num_splits=2,
    num_seeds=2,
    split_size=32,
    test_size=200,
    num_steps=20,
    first_checkpoint=4,
    num_checkpoints=4,
)
BASE = {
    "evaluation": EvaluationConfig(num_examples=64, num_noises=1, num_loss_noises=2),
    "samples": SamplesConfig(num_samples=40),
    "comparison": ComparisonConfig(num_floor_repeats=2),
}
STAGES: dict[str, Any] = {
    "decomposition": decomposition.DecompositionConfig(num_sequences=200, num_noises=2),
    "along_time": AlongTimeConfig(num_sequences=50, stride=2),
    "u_turns": u_turns.UTurnConfig(num_sequences=32, num_noises=12, relative_times=(0.05, 0.15)),
    "random_u_turns": u_turns.RandomUTurnConfig(num_sequences=32, relative_times=(0.05, 1.0)),
    "levels": LevelsConfig(num_permutations=2000),
    "refitted": RefittedConfig(num_samples=40),
    "examination": ExaminationConfig(),
}
OWN = Protocol(RUN, BASE | STAGES)
FIGURES = ("1b", "3b", "4a", "4b", "11", "levels", "examination")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_run(RUN, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def results(root):
    return measure_run(OWN, root, progress=False)


def member_at(root, epoch, member):
    """A trained network, from its checkpoint."""
    params = checkpoints_of(RUN, open_run(RUN, root)).load_params(int(epoch))
    own = {name: jnp.asarray(values[member]) for name, values in params.items()}
    return LearnedDenoiser(RUN.network, own, RUN.num_steps)


def test_decomposition_is_that_of_the_networks(root, results):
    measured = results["decomposition"]
    grammar, schedule = RUN.data.build(), RUN.schedule
    key = jax.random.split(run_key(RUN, "decomposition"), 3)[2]
    rows = make_data(RUN).train[1]
    inputs = decomposition.make_inputs(STAGES["decomposition"], grammar, schedule, key, rows)
    network = member_at(root, 64, 2)  # the first of split 1
    clean = jnp.broadcast_to(inputs.clean, (2, *inputs.clean.shape))
    for index, ending in enumerate(("", "_all")):
        output = network(inputs.x_t[index], inputs.t[index])
        parts = decompose_loss(output, inputs.exact[index], clean)
        for part in ("distillation", "excess"):
            found = measured[f"{part}{ending}"].values[-1, 2, 0]
            values = np.asarray(getattr(parts, part)).mean(0)
            assert found == pytest.approx(values.mean(), abs=1e-6)
            error = measured[f"{part}{ending}_error"].values[-1, 2, 0]
            assert error == pytest.approx(scipy.stats.sem(values), rel=1e-4)
    assert (inputs.t[0] == 6).all()
    assert len(np.unique(inputs.t[1])) == RUN.num_steps


def test_distillation_is_above_its_floor_and_excess_on_test_data_near_zero(results):
    """A z-test for each checkpoint, member and kind of step, at FALSE_ALARM over all of them."""
    measured = results["decomposition"]
    for ending in ("", "_all"):
        above = measured[f"distillation{ending}"].values
        above = above - measured[f"distillation{ending}_floor"].values
        assert (above > 0).all()
        assert (above[-1] < above[0]).all()  # something was learned
        excess, error = (measured[f"excess{ending}{end}"].values[..., 1] for end in ("", "_error"))
        threshold = scipy.stats.norm.isf(FALSE_ALARM / 2 / (2 * excess.size))
        assert (np.abs(excess) < threshold * error).all()


def test_divergences_along_time_are_those_of_the_denoisers(root, results):
    measured = results["along_time"]
    grammar, schedule = RUN.data.build(), RUN.schedule
    assert measured["relative_time"].values.tolist() == [t / 20 for t in range(1, 21, 2)]
    assert measured["filter_level"].values.tolist() == [1, 2]
    # Their means over other noise agree, within seven standard errors of each.
    x_0 = hm.one_hot(make_data(RUN).test[50:], 6)
    x_t = hm.add_noise(jax.random.key(5), schedule, x_0, 7)
    exact = hm.exact_denoiser(grammar, schedule)
    epoch = nearest_epochs(results["evaluation"], results["onsets"]["tau_test"].values)[3]
    for others, name, row in (
        (hm.exact_denoiser(grammar, schedule, filter_level=2), "filtered", 1),
        (member_at(root, epoch, 3), "model", 3),
    ):
        values = np.asarray(denoiser_divergence(exact, others, x_t, 7))
        found, error = (measured[f"{name}{end}"].values[row, 3] for end in ("", "_error"))
        spread = np.hypot(error, scipy.stats.sem(values))
        assert found == pytest.approx(values.mean(), abs=7 * spread)
        assert spread < 0.2 * values.mean()
    assert (measured["filtered"].values > -1e-5).all()
    assert (measured["model"].values > 0).all()
    low, peak, high = (measured[f"peak_{end}"].values for end in ("low", "time", "high"))
    assert ((low <= peak) & (peak <= high)).all()
    nearest = measured["relative_time"].values[measured["filtered"].values.argmax(1)]
    assert peak == pytest.approx(nearest, abs=0.15)


def test_u_turns_compare_networks_with_the_exact_denoiser_on_the_same_noise(root, results):
    measured = results["u_turns"]
    taus = {"bias": "tau_neighbour", "test": "tau_test"}
    for moment, tau in enumerate(taus.values()):
        expected = nearest_epochs(results["comparison"], results["onsets"][tau].values)
        np.testing.assert_array_equal(measured["moment_epoch"].values[moment], expected)
    exact = hm.exact_denoiser(RUN.data.build(), RUN.schedule)
    network = member_at(root, measured["moment_epoch"].values[1, 3], 3)
    starts = make_data(RUN).train[1]
    key = run_key(RUN, "u_turns")
    model, truth = (
        u_turns.overlaps(key, denoiser, RUN.schedule, starts, 3, 12)
        for denoiser in (network, exact)
    )
    ratios = model.mean(1) / truth.mean(1)
    found, error = (measured[f"ratio{end}"].values[1, 3, 0, 1] for end in ("", "_error"))
    assert found == pytest.approx(ratios.mean(), abs=1e-6)
    assert error == pytest.approx(scipy.stats.sem(ratios), rel=1e-5)
    assert measured["model_overlap"].values[1, 3, 0, 1] == pytest.approx(model.mean(), abs=1e-6)
    assert measured["exact_overlap"].values[3, 0, 1] == pytest.approx(truth.mean(), abs=1e-6)
    # More noises leave the first ones as they were, also across groups.
    fewer = u_turns.overlaps(key, exact, RUN.schedule, starts, 3, 10)
    np.testing.assert_array_equal(fewer, truth[:, :10])
    assert (truth[:, 10:] != truth[:, :2]).any()


def test_random_strings_survive_what_knows_little(results):
    measured = results["random_u_turns"]
    first, last = measured["filtered"].values.T
    assert (np.diff(first) >= 0).all()  # the less structure, the more remains
    assert first[0] + 0.05 < first[-1]
    # From pure noise nothing is left but chance agreement: 1/4, within seven standard errors.
    assert last == pytest.approx(1 / 4, abs=7 * np.sqrt(3 / 16 / (32 * 8)))
    assert (measured["empirical"].values[:, 0] < first[0]).all()
    for name, dim in (("filtered", "level"), ("empirical", "split"), ("model", "member")):
        assert measured[name].dims == measured[f"{name}_error"].dims == (dim, "time")


def test_levels_agree_with_the_comparison(results):
    levels, comparison = results["levels"], results["comparison"]
    # With two splits, a pair of members holds both directions: members 0 and 2, 1 and 3.
    both = comparison["block_reproduction"].values
    expected = (both[:, :2] + both[:, 2:]) / 2
    np.testing.assert_allclose(levels["block_excess"].values, expected, atol=1e-12)
    p_values, first = levels["onset_p"].values, levels["onset_epoch"].values
    assert p_values.shape == (5, 3)
    # Untrained networks know no split: false alarms at any of three levels have p ≤ 0.003.
    assert (p_values[0] > 0.001).all()
    for level in range(3):
        significant = levels["epoch"].values[p_values[:, level] <= 0.05]
        assert first[level] == (significant[0] if len(significant) else np.inf)
    np.testing.assert_allclose(levels["block_share"].values.sum(-1), 1)
    # Fresh data give the least error that so many samples can have.
    error, floor = levels["correlation_error"].values[0], levels["correlation_floor"].values
    assert (error[:, 0] > floor[:, 0].mean()).all()


def test_samples_are_examined_beside_draws_of_the_law(results):
    """Networks trained for a moment draw what no tree can yield; the law itself does not."""
    measured = results["examination"]
    names = measured["test"].values.tolist()
    assert names[0] == "derivable, level 0"
    assert names[-1] == "copies"
    epochs = len(results["comparison"]["epoch"].values)
    assert measured["p_value"].values.shape == (epochs, 4, len(names))
    assert (measured["p_value"].values[0, :, 0] == 0).all()
    assert (measured["p_value_of_law"].values > 0.05).all()


def test_unsupported_mass_is_reported_beside_the_clipped_divergence(results):
    measured = results["evaluation"]["model_oracle_unsupported"]
    assert measured.dims == ("checkpoint", "member", "set", "level")
    assert ((measured.values >= 0) & (measured.values < 8)).all()
    assert (measured.values[0] == 0).all()  # an untrained network rules nothing out
    filtered = results["along_time"]["filtered_unsupported"].values
    assert ((filtered >= 0) & (filtered < 8)).all()


def test_only_what_is_finished_is_loaded(root, results):
    loaded = load_finished(OWN, root, wanted=("along_time", "decomposition"))
    assert set(loaded) == {"evaluation", "onsets", "along_time", "decomposition", "ensemble"}
    other = STAGES | {"along_time": AlongTimeConfig(num_sequences=49)}
    assert "along_time" not in load_finished(Protocol(RUN, BASE | other), root)
    base = load_finished(Protocol(RUN, BASE), root)
    assert set(base) == {"evaluation", "comparison", "onsets", "ensemble"}
    unknown = dataclasses.replace(RUN, seed=9)
    assert load_finished(Protocol(unknown, BASE | STAGES), root) == {}


@pytest.mark.parametrize(
    ("stages", "wanted", "message"),
    [
        ({}, ("losses",), "stage='losses'"),
        ({"levels": u_turns.UTurnConfig()}, None, "a LevelsConfig"),
        ({"onsets": u_turns.UTurnConfig()}, None, "stage='onsets'"),
    ],
)
def test_stages_that_cannot_be_made_are_refused(tmp_path, stages, wanted, message):
    with pytest.raises(ValueError, match=message):
        load_finished(Protocol(RUN, stages), tmp_path, wanted=wanted)


def test_an_interrupted_stage_goes_on_after_its_last_piece(tmp_path):
    context = context_of(Protocol(RUN, BASE), tmp_path, make=True)
    made = []

    def piece(number: int):
        if number == 3 and made == [1, 2]:
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(number)
        return {"value": Measurement(np.array([number]), ("thing",), "1", "a number")}

    plan = along_checkpoints([1, 2, 3, 4], lambda: Recipe(piece))
    with pytest.raises(KeyboardInterrupt):
        make(context, "evaluation", plan, False)
    make(context, "evaluation", plan, False)
    make(context, "evaluation", plan, False)
    assert made == [1, 2, "stopped", 3, 4]
    assert context.load("evaluation")["value"].values.tolist() == [[1], [2], [3], [4]]
    assert not context.file("evaluation").with_suffix("").exists()


@pytest.mark.parametrize(
    "name", [pytest.param(f, marks=pytest.mark.long) if f in ("1b", "4a") else f for f in FIGURES]
)
def test_figures_are_drawn_whole_or_marked_as_partial(name, results):
    """Of one run and of several; without any stage, and with one run that lacks all."""
    spec = all_figures()[name]
    wanted = {stage: results[stage] for stage in (*spec.stages, "onsets", "ensemble")}

    def partial(found) -> bool:
        figure = spec.draw(found)
        assert len(figure.axes) >= 1
        figure.draw_without_rendering()
        title = figure.get_suptitle()
        plt.close(figure)
        assert title == "" or title.startswith("partial")
        return title != ""

    assert not partial({"n = 1": wanted})
    assert partial({"n = 1": {}})
    assert partial({"n = 1": {key: wanted[key] for key in wanted if key != spec.stages[-1]}})
    if len(spec.sizes) > 1:
        labels = [f"n = {size}" for size in spec.sizes]
        assert not partial(dict.fromkeys(labels, wanted))
        assert partial({**dict.fromkeys(labels, wanted), labels[0]: {}})
    assert spec.caption.endswith(".")


def test_figures_are_saved_as_vector_and_bitmap(results, tmp_path):
    figure = all_figures()["11"].draw({"": results})
    vector, bitmap = style.save(figure, tmp_path, "figure_11")
    assert vector.read_bytes().startswith(b"%PDF")
    assert bitmap.read_bytes()[1:4] == b"PNG"
    again = style.save(figure, tmp_path / "again", "figure_11")
    assert again[0].read_bytes() == vector.read_bytes()
