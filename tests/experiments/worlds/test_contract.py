"""What every data world answers, and how the answers hang together."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mixture_world import WORLD, MixtureConfig

from experiments.configs import RunConfig, identity, to_json
from experiments.runs.data import data_as_drawn, make_data, run_key
from experiments.runs.members import member
from experiments.stages.registry import stages_of
from experiments.worlds import registry
from experiments.worlds.grammar import GrammarConfig
from experiments.worlds.images import ImageDataConfig
from experiments.worlds.registry import all_worlds, complete, from_json, world_of
from hiermodel.diffusion.corruption import add_noise
from hiermodel.measures.loss import stratified_steps
from hiermodel.measures.membership import attack_losses
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig

TRAINING = TrainingConfig(num_epochs=2, batch_size=4)
SIZES = {"num_splits": 2, "num_seeds": 1, "split_size": 6, "test_size": 8, "num_steps": 40}
UNET = UNetConfig(4, 4, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2)
RUNS = [
    RunConfig(GrammarConfig(depth=2), MLPConfig(2, 2, width=8, num_blocks=1), TRAINING, **SIZES),
    RunConfig(ImageDataConfig(), UNET, TRAINING, **SIZES),
    RunConfig(MixtureConfig(), UNET, TRAINING, **SIZES),
]
"""A tiny run of every world, a stranger's among them."""


@pytest.fixture(params=RUNS, ids=lambda run: type(run.data).__name__)
def run(request, monkeypatch):
    known = {**all_worlds(), MixtureConfig: WORLD}
    monkeypatch.setattr(registry, "all_worlds", lambda: known)
    registry._types.cache_clear()
    yield complete(request.param)
    registry._types.cache_clear()


@pytest.fixture
def world(run):
    return world_of(run)


@pytest.fixture
def network(run, world):
    """A network with parameters that depend on the seed, as a function of it."""

    def made(seed):
        params = init_params(jax.random.key(seed), run.network)
        keys = jax.random.split(jax.random.key(seed), len(params))
        return {  # outputs of fresh networks may be zero
            name: value + 0.1 * jax.random.normal(key, value.shape)
            for key, (name, value) in zip(keys, params.items(), strict=True)
        }

    return made


def test_every_world_has_a_run_here():
    assert {*all_worlds(), MixtureConfig} == {type(run.data) for run in RUNS}


class TestWorld:
    """The contract of ``experiments.worlds.world.World``."""

    def test_configurations_come_back_from_their_json(self, run):
        assert from_json(to_json(run)) == run
        assert complete(run) == run

    def test_data_are_disjoint_and_depend_on_key_and_run_alone(self, run, world):
        splits, again = make_data(run), make_data(run)
        np.testing.assert_array_equal(splits.train, again.train)
        assert splits.train.shape[:2] == (run.num_splits, run.split_size)
        assert len(splits.test) == run.test_size
        rows = {np.asarray(row).tobytes() for split in splits.train for row in split}
        assert len(rows) == run.num_splits * run.split_size
        assert not rows & {np.asarray(row).tobytes() for row in splits.unseen}

    def test_settings_that_networks_do_not_depend_on_leave_them_as_they_are(self, run, world):
        for field in world.shared(run):
            more = dataclasses.replace(run, **{field: 2 * getattr(run, field)})
            if field != "num_splits" or world.shared(more)[field] == world.shared(run)[field]:
                assert member(more, 1, 0).name == member(run, 1, 0).name
                np.testing.assert_array_equal(make_data(more).train[1], make_data(run).train[1])
            assert identity(more) != identity(run)

    def test_noise_is_added_to_reals_of_the_networks_shape(self, run, world):
        clean = world.clean(run.data, data_as_drawn(run).test)
        assert clean.shape == (run.test_size, *run.network.target.event_shape)
        assert jnp.issubdtype(clean.dtype, jnp.floating)

    def test_a_networks_prediction_is_that_of_its_denoiser(self, run, world, network):
        examples, schedule = data_as_drawn(run).test, run.schedule
        t = stratified_steps(jax.random.key(1), run.num_steps, len(examples))
        x_t = add_noise(jax.random.key(2), schedule, world.clean(run.data, examples), t)
        params = network(0)
        said = jax.jit(world.prediction, static_argnums=0)(run.network, params, x_t, t)
        output = run.network.target.denoiser(run.network, params, schedule)(x_t, t)
        assert said.shape == x_t.shape
        other = world.prediction_of(output, schedule, x_t, t)
        np.testing.assert_allclose(other, said, rtol=1e-3, atol=1e-3)

    def test_the_loss_is_that_of_the_library(self, run, world, network):
        """``attack_losses`` adds its noise to the same examples at the same step."""
        examples, schedule, steps = data_as_drawn(run).test, run.schedule, np.array([5])
        clean, key = world.clean(run.data, examples), jax.random.key(3)
        denoiser = run.network.target.denoiser(run.network, network(0), schedule)
        x_t = add_noise(jax.random.fold_in(key, 0), schedule, clean, 5)
        signal, spread = (
            np.sqrt(np.asarray(part)[5]) for part in (schedule.alpha_bar, schedule.noise_variance)
        )
        target = world.target(examples, (x_t - signal * clean) / spread)
        said = world.prediction_of(denoiser(x_t, 5), schedule, x_t, jnp.asarray(5))
        expected = attack_losses(key, denoiser, schedule, examples, steps)
        np.testing.assert_allclose(world.loss(said, target), expected, rtol=1e-3)

    def test_nothing_diverges_from_itself(self, run, world, network):
        x_t = jax.random.normal(jax.random.key(4), (5, *run.network.target.event_shape))
        predict = jax.jit(world.prediction, static_argnums=0)
        a, b = (predict(run.network, network(s), x_t, jnp.asarray(9)) for s in (0, 1))
        np.testing.assert_allclose(world.divergence(a, a), 0, atol=1e-5)
        assert (np.asarray(world.divergence(a, b)) > 1e-4).all()

    def test_examples_are_near_themselves_and_unlike_others(self, run, world):
        first, second = data_as_drawn(run).train
        assert first.dtype == world.dtype(run.data)
        np.testing.assert_allclose(world.distance(first, first), 0, atol=1e-3)
        assert (world.distance(first, second) > 0).all()
        np.testing.assert_allclose(world.dissimilarity(first, first), 0, atol=1e-5)
        assert (world.dissimilarity(first, second) > 0).all()

    def test_what_is_known_of_the_law_fits_together(self, run, world):
        exact, oracles = world.exact(run), world.oracles(run)
        x_t = jax.random.normal(jax.random.key(5), (3, *run.network.target.event_shape))
        denoisers = [*oracles, *([] if exact is None else [exact])]
        train = data_as_drawn(run).train[0]
        denoisers += [reference.of(train) for reference in world.references(run).values()]
        for denoiser in denoisers:
            assert denoiser(x_t, 7).shape == x_t.shape
        if exact is not None:
            np.testing.assert_allclose(oracles[0](x_t, 7), exact(x_t, 7), rtol=1e-5)
        fresh = world.fresh(run_key(run, "fresh"), run, 4)
        assert fresh is None or (fresh.shape[1:], fresh.dtype) == (train.shape[1:], train.dtype)
        varied = world.vary(jax.random.key(6), run.data, make_data(run).train[0])
        assert varied is None or varied.shape == make_data(run).train[0].shape

    def test_words_are_there(self, run, world):
        assert set(world.units) == {"value", "loss", "divergence", "distance", "dissimilarity"}
        assert set(world.about) == {"loss", "divergence", "dissimilarity"}
        assert world.label(run)
        assert world.describe(run)
        assert world.missing(run.data) is None
        assert {"evaluation", "samples", "comparison", "attacks", "advice"} <= set(stages_of(run))
