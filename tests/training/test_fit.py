"""Training in memory: any network, the same bits whatever the company, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from own_module import OwnModule

import hiermodel as hm
from hiermodel.diffusion.denoiser import Denoiser, MeanDenoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.chunks import NotFiniteError
from hiermodel.training.data import fresh
from hiermodel.training.fitting import fit
from hiermodel.training.in_folder import train
from hiermodel.training.state import Ensemble, TrainingConfig, member_key

KEY = jax.random.key(3)
SCHEDULE = hm.Schedule.linear(50)
NETWORK = MLPConfig(4, 3, width=8, num_blocks=1, dropout=0.1)
SETTINGS = {"num_steps": 8, "batch_size": 8, "learning_rate": 1e-2, "progress": False}
CONSTANT = np.tile(np.array([0, 1, 2, 0]), (20, 1))


@pytest.fixture(scope="module")
def alone():
    """One network on one training set."""
    return fit(KEY, NETWORK, data()[0], SCHEDULE, **SETTINGS)


def data():
    return np.asarray(jax.random.randint(jax.random.key(7), (2, 20, 4), 0, 3))


def assert_same(one, other):
    assert one.params.keys() == other.params.keys()
    for name, value in one.params.items():
        np.testing.assert_array_equal(value, other.params[name], err_msg=name)


def test_a_network_becomes_a_denoiser_that_has_learned():
    settings = SETTINGS | {"num_steps": 120}
    denoiser = fit(KEY, NETWORK, CONSTANT, SCHEDULE, **settings)
    assert isinstance(denoiser, Denoiser)
    assert denoiser.losses.steps[-1] == 120
    assert denoiser.losses.values[-5:].mean() < 0.3 * denoiser.losses.values[:5].mean()
    x_t = hm.add_noise(KEY, SCHEDULE, hm.one_hot(CONSTANT, 3), 5)
    assert np.exp(denoiser(x_t, 5))[0, np.arange(4), CONSTANT[0]].min() > 0.8
    assert hm.sample_ancestral(KEY, denoiser, SCHEDULE, 3).shape == (3, 4)


def test_the_same_key_gives_the_same_bits_however_it_is_cut(alone):
    for points in (1, 3):
        other = fit(KEY, NETWORK, data()[0], SCHEDULE, points=points, **SETTINGS)
        assert_same(alone, other)
    assert list(other.losses.steps) == [3, 6, 8]
    assert len(alone.losses.values) == 8
    sizes = [8, 8, 4]  # rows of the three batches of a pass over 20 sequences
    for place in (0, 1):
        own = alone.losses.values[3 * place : 3 * place + 3]
        expected = np.average(own, weights=sizes)
        assert other.losses.values[place] == pytest.approx(expected, rel=1e-5)


def test_it_is_the_resumable_loops_own_training(tmp_path):
    """Two passes over the data, there as epochs and here as steps."""
    training = TrainingConfig(
        num_epochs=2, batch_size=8, learning_rate=1e-2, rate_schedule="constant"
    )
    ensemble = Ensemble(NETWORK, training, SCHEDULE)
    options = {"identity": "a", "checkpoint_epochs": [2], "progress": False}
    kept = train(KEY, ensemble, data()[:1], tmp_path, **options).states
    settings = SETTINGS | {"num_steps": 6}
    ours = fit(member_key(KEY, 0, 0), NETWORK, data()[0], SCHEDULE, **settings)
    for name, value in kept.params.items():
        np.testing.assert_array_equal(value[0], ours.params[name], err_msg=name)


def test_many_sets_and_seeds_equal_the_single_ones():
    keys = jax.random.split(KEY, 2)
    both = fit(keys, NETWORK, data(), SCHEDULE, **SETTINGS)
    assert [len(row) for row in both] == [2, 2]
    single = fit(jax.random.fold_in(keys[1], 1), NETWORK, data()[1], SCHEDULE, **SETTINGS)
    assert_same(both[1][1], single)
    np.testing.assert_array_equal(both[1][1].losses.values, single.losses.values)
    seeds = fit(keys, NETWORK, data()[0], SCHEDULE, **SETTINGS)
    assert_same(seeds[0], fit(keys[0], NETWORK, data()[0], SCHEDULE, **SETTINGS))
    assert np.any(seeds[0].losses.values != seeds[1].losses.values)


def test_the_callback_is_told_and_can_end_the_training(alone):
    told = []

    def callback(progress):
        told.append(progress)
        return progress.step >= 4

    stopped = fit(KEY, NETWORK, data()[0], SCHEDULE, callback=callback, points=4, **SETTINGS)
    assert [(one.step, one.num_steps) for one in told] == [(2, 8), (4, 8)]
    assert told[0].loss == pytest.approx(float(stopped.losses.values[0]))
    assert told[0].steps_per_second > 0
    assert told[0].seconds_left > 0
    assert list(stopped.losses.steps) == [2, 4]
    assert_same(told[-1].denoisers(), stopped)
    assert_same(stopped, fit(KEY, NETWORK, data()[0], SCHEDULE, **(SETTINGS | {"num_steps": 4})))


def test_advice_ends_a_training_that_leans_to_its_data():
    """The recipe of docs/guides/own_network.md: two halves, watched on test sequences."""
    halves = np.stack([CONSTANT, (CONSTANT + 1) % 3])
    test = np.asarray(jax.random.randint(jax.random.key(8), (40, 4), 0, 3))
    noisy = hm.add_noise(KEY, SCHEDULE, hm.one_hot(test, 3), 20)
    steps, losses, divergences, verdicts = [], [], [], []

    def look(progress):
        a, b = progress.denoisers()
        steps.append(progress.step)
        both = [hm.measures.evaluate_loss(KEY, one, SCHEDULE, test, 20) for one in (a, b)]
        losses.append(np.asarray(sum(both)) / 2)
        divergences.append(np.asarray(hm.measures.denoiser_divergence(a, b, noisy, 20)))
        advice = hm.advise_stop(
            KEY, np.array(steps), np.stack(losses), split_divergence=np.stack(divergences)
        )
        verdicts.append(advice.verdict)
        return advice.stop

    settings = SETTINGS | {"num_steps": 100}
    a, _ = fit(KEY, NETWORK, halves, SCHEDULE, callback=look, points=25, **settings)
    assert verdicts[-1] != "keep going"
    assert set(verdicts[:-1]) == {"keep going"}
    assert a.losses.steps[-1] == steps[-1] < 100


@pytest.mark.parametrize("as_instance", [True, False])
def test_a_users_own_module_is_trained(as_instance):
    module = OwnModule(4, 3, nnx.Rngs(0)) if as_instance else lambda rngs: OwnModule(4, 3, rngs)
    settings = SETTINGS | {"num_steps": 60, "learning_rate": 3e-2, "vocab_size": 3}
    denoiser = fit(KEY, module, CONSTANT, SCHEDULE, **settings)
    assert denoiser.losses.values[-5:].mean() < 0.5 * denoiser.losses.values[:5].mean()
    log_probs = denoiser(jnp.zeros((2, 4, 3), jnp.float32), 7)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["masked", "uniform"])
def test_discrete_noise_is_learned_too(kind):
    process = getattr(hm.DiscreteProcess, kind)(3, num_steps=20)
    settings = SETTINGS | {"num_steps": 120}
    denoiser = fit(KEY, NETWORK, CONSTANT, process, **settings)
    assert denoiser.losses.values[-5:].mean() < 0.3 * denoiser.losses.values[:5].mean()
    samples = np.asarray(hm.sample_ancestral(KEY, denoiser, process, 20))
    assert (samples == CONSTANT[0]).mean() > 0.8
    with pytest.raises(ValueError, match="x_t"):
        denoiser(np.zeros((2, 4, 3)), 3)  # not symbols


@pytest.mark.long
def test_images_are_learned():
    network = UNetConfig(2, 2, base_width=2, multipliers=(1,), num_res_blocks=1, num_groups=1)
    images = np.zeros((8, 2, 2, 1), np.uint8)
    denoiser = fit(KEY, network, images, SCHEDULE, **(SETTINGS | {"num_steps": 30}))
    assert isinstance(denoiser, MeanDenoiser)
    assert denoiser.losses.values[-5:].mean() < 0.8 * denoiser.losses.values[0]


def test_averages_are_what_is_returned_if_asked_for(alone):
    averaged = fit(KEY, NETWORK, data()[0], SCHEDULE, ema_decays=(0.5,), **SETTINGS)
    np.testing.assert_array_equal(averaged.losses.values, alone.losses.values)
    assert any(np.any(value != alone.params[name]) for name, value in averaged.params.items())


def test_fresh_data_come_from_the_law():
    grammar = hm.Grammar.from_tensor(np.ones((2, 2, 2)) * 0.25, depth=2)
    network = MLPConfig(4, 2, width=8, num_blocks=1)
    options = SETTINGS | {"num_steps": 5}
    denoiser = fit(KEY, network, fresh(grammar, 20), SCHEDULE, **options)
    assert_same(denoiser, fit(KEY, network, fresh(grammar, 20), SCHEDULE, **options))
    with pytest.raises(ValueError, match="filter_level"):
        fresh(grammar, 20, filter_level=3)
    with pytest.raises(ValueError, match="num_rows"):
        fresh(grammar, 0)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"sequences": np.full((20, 4), np.nan)}, r"sequences\[0\]\[0\]=nan.*NaN"),
        ({"sequences": CONSTANT * 1.0}, "sequences.*integers"),
        ({"sequences": CONSTANT + 1}, "symbol 3"),
        ({"sequences": CONSTANT[:, :3]}, r"sequences=\(20, 3\)"),
        ({"sequences": CONSTANT[:0]}, "sequences"),
        ({"num_steps": 0}, "num_steps=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"points": 0}, "points"),
        ({"key": 3}, "key"),
        ({"network": lambda rngs: OwnModule(4, 3, rngs)}, "vocab_size"),
    ],
)
def test_what_is_refused(changed, complaint, unchecked_types):
    given = {"key": KEY, "network": NETWORK, "sequences": CONSTANT} | SETTINGS | changed
    key, network, sequences = (given.pop(name) for name in ("key", "network", "sequences"))
    with pytest.raises(ValueError, match=complaint):
        fit(key, network, sequences, SCHEDULE, **given)


@pytest.mark.parametrize(("pixel", "complaint"), [(np.nan, "NaN"), (np.inf, "not finite")])
def test_an_image_with_a_pixel_that_is_no_number_is_refused(pixel, complaint):
    network = UNetConfig(2, 2, base_width=2, multipliers=(1,), num_res_blocks=1, num_groups=1)
    images = np.zeros((8, 2, 2, 1), np.float32)
    images[5, 1, 0] = pixel
    with pytest.raises(ValueError, match=f"sequences.*{complaint}") as refused:
        fit(KEY, network, images, SCHEDULE, **SETTINGS)
    assert ("sequences[5][1][0][0]=nan" in str(refused.value)) == np.isnan(pixel)


def test_a_module_of_the_wrong_shape_is_refused_saying_which(unchecked_types):
    class Sums(OwnModule):
        def __call__(self, x_t, t):
            return super().__call__(x_t, t)[:, :2]

    with pytest.raises(ValueError, match=r"gave shape \(2, 2, 3\), and must give \(2, 4, 3\)"):
        fit(KEY, lambda r: Sums(4, 3, r), CONSTANT, SCHEDULE, **SETTINGS, vocab_size=3)


def test_a_loss_that_is_not_finite_ends_it_with_its_place():
    settings = SETTINGS | {"learning_rate": 1e38}
    with pytest.raises(NotFiniteError, match=r"step \d.*learning rate 1e\+38.*lower learning rate"):
        fit(KEY, dataclasses.replace(NETWORK, dropout=0.0), CONSTANT, SCHEDULE, **settings)
