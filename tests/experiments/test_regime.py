"""What the regime adds: running averages, fresh data, all pairs, refitted grammars, claims."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from experiments import configs
from experiments.claim import Statistic, claim_of_units, correct_together
from experiments.configs import Protocol
from experiments.measure import measure_run
from experiments.runs.data import make_data, run_key, training_data
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, train_run
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.stages.noisy_inputs import test_inputs as inputs_of_test_set
from experiments.stages.refitted import RefittedConfig
from experiments.worlds.grammar import GrammarConfig
from experiments.worlds.images import ImageDataConfig
from hiermodel.measures import kl_divergence
from hiermodel.measures.multiplicity import holm
from hiermodel.networks.learned import LearnedDenoiser
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

DATA = GrammarConfig("random", vocab_size=4, depth=2, rules_per_symbol=3)
RUN = configs.RunConfig(
    data=DATA,
    network=TreeUNetConfig(depth=2, branching=2, vocab_size=4, width=8),
    training=TrainingConfig(
        num_epochs=12, batch_size=8, learning_rate=5e-3, ema_decays=(0.9,), rate_schedule="constant"
    ),
    num_splits=4,
    num_seeds=1,
    split_size=12,
    test_size=40,
    num_steps=20,
    first_checkpoint=3,
    num_checkpoints=4,
)
STAGES = {
    "evaluation": EvaluationConfig(num_examples=20, num_noises=2, num_loss_noises=2),
    "samples": SamplesConfig(num_samples=30),
    "comparison": ComparisonConfig(num_floor_repeats=2, num_reference=200),
    "refitted": RefittedConfig(num_samples=400),
}
OWN = Protocol(RUN, STAGES)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train_run(RUN, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def results(root):
    return measure_run(OWN, root, wanted=tuple(STAGES), progress=False)


def outputs(root, weights):
    """Log-probabilities of every network at the last checkpoint, and the inputs."""
    inputs = inputs_of_test_set(
        run_key(RUN, "evaluation"), RUN, STAGES["evaluation"], make_data(RUN)
    )
    params = checkpoints_of(RUN, open_run(RUN, root)).load_params(12, weights)
    networks = [
        LearnedDenoiser(RUN.network, {k: jnp.asarray(v[member]) for k, v in params.items()}, 20)
        for member in range(4)
    ]
    return inputs, networks


@pytest.mark.parametrize(("weights", "prefix"), [("average", ""), ("raw", "raw_")])
def test_evaluation_is_of_the_named_weights(root, results, weights, prefix):
    inputs, networks = outputs(root, weights)
    measured = results["evaluation"]
    at_loss = [network(inputs.x_loss, inputs.t_loss) for network in networks]
    distilled = [float(kl_divergence(inputs.exact, out).mean()) / 4 for out in at_loss]
    found = measured[f"{prefix}distillation"].values[-1, :, 1]
    np.testing.assert_allclose(found, distilled, rtol=2e-5)
    out = [network(inputs.x_t, inputs.t[:, None]) for network in networks]
    pairs = np.array([[float(kl_divergence(a, b).mean()) for b in out] for a in out])
    mean = pairs[~np.eye(4, dtype=bool)].mean()
    found = measured[f"{prefix}split_divergence"].values[-1]
    assert found.shape == (4,)
    assert found.mean() == pytest.approx(mean, rel=2e-5)


def test_oracle_lines_are_those_of_the_filtered_denoisers(results):
    lines = results["evaluation"]["oracle_line"].values
    assert lines.shape == (3,)
    assert lines[0] == pytest.approx(0, abs=1e-6)
    assert (np.diff(lines) > 0).all()


def test_refitted_grammars_are_those_of_the_training_sets(results):
    measured = results["refitted"]
    inputs = inputs_of_test_set(
        run_key(RUN, "evaluation"), RUN, STAGES["evaluation"], make_data(RUN)
    )
    for split, train in enumerate(make_data(RUN).train):
        denoiser = hm.exact_denoiser(hm.fit_grammar(DATA.build(), train), RUN.schedule)
        out = denoiser(inputs.x_loss, inputs.t_loss)
        expected = float(kl_divergence(inputs.exact, out).mean()) / 4
        assert measured["distillation"].values[split] == pytest.approx(expected, rel=2e-5)
    # Twelve sequences are few: any learner leans to them.
    assert measured["gap_of_sets"].values.mean() > 0


def test_fresh_data_are_no_training_set(tmp_path):
    fresh = dataclasses.replace(RUN, fresh=True)
    assert configs.identity(fresh) != configs.identity(RUN)
    train_run(fresh, tmp_path, progress=False)
    params = checkpoints_of(fresh, open_run(fresh, tmp_path)).load_params(12)
    assert all(np.isfinite(values).all() for values in params.values())
    first = next(iter(params.values()))
    assert (first[0] != first[1]).any()


def test_fresh_data_need_a_law_and_nothing_that_counts_rows():
    with pytest.raises(ValueError, match="fresh"):
        dataclasses.replace(RUN, fresh=True, augmentation=2)
    images = dataclasses.replace(
        RUN, data=ImageDataConfig(), network=UNetConfig(8, 8, base_width=8), fresh=True
    )
    with pytest.raises(ValueError, match="no known law"):
        training_data(images)


def claim(name, values, primary):
    statistic = Statistic.known(np.asarray(values))
    return claim_of_units(statistic, name=name, statement="", about="", primary=primary)


def test_primary_claims_are_corrected_together_and_others_are_not():
    rng = np.random.default_rng(0)
    weak = np.array([-0.2, 0.0, 0.1, 0.3, 0.4, 0.5, 0.9, 1.0])  # shown by itself
    assert claim("alone", weak, True).verdict == "shown"
    noise = [claim(f"noise {i}", rng.normal(size=8), True) for i in range(12)]
    claims = correct_together([claim("weak", weak, True), *noise, claim("free", weak, False)])
    assert claims[0].corrected_p == holm(np.array([each.p_value for each in claims[:-1]]))[0]
    assert claims[0].corrected_p > 10 * claims[0].p_value
    assert claims[0].verdict == "not shown"
    assert claims[-1].corrected_p is None
    assert claims[-1].verdict == "shown"
