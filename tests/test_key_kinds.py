"""Keys of other implementations than Threefry work, and keep its promises."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from experiments.configs import RunConfig
from experiments.runs.data import run_key
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import init_params
from hiermodel.random_bits import THREEFRY, threefry_key
from hiermodel.training.checkpoints import flatten_state, unflatten_state
from hiermodel.training.in_folder import train
from hiermodel.training.state import Ensemble, TrainingConfig, init_ensemble, init_member

KINDS = ("rbg", "unsafe_rbg")
SCHEDULE = hm.Schedule.linear(30)
MASKED = hm.DiscreteProcess.masked(3, num_steps=4)
GRAMMAR = hm.Grammar.random(jax.random.key(0), vocab_size=3, depth=2, rules_per_symbol=2)
SEQUENCES = np.indices((3,) * 4).reshape(4, -1).T[::5]
NETWORK = MLPConfig(4, 3, width=4, num_blocks=1, dropout=0.1)
TRAINING = TrainingConfig(num_epochs=2, batch_size=8, learning_rate=1e-2)

DRAWS = {
    "leaves": lambda key, n: hm.sample_leaves(key, GRAMMAR, n),
    "posterior": lambda key, n: hm.sample_posterior(key, GRAMMAR, np.zeros((4, 3)), n)[-1],
    "noise": lambda key, n: hm.add_noise(key, SCHEDULE, np.ones((n, 4, 3)), 5),
    "ancestral": lambda key, n: hm.sample_ancestral(key, memoriser(SCHEDULE), SCHEDULE, n),
    "ddim": lambda key, n: hm.sample_ddim(key, memoriser(SCHEDULE), SCHEDULE, n, eta=0.5),
    "ode": lambda key, n: hm.sample_ode(key, memoriser(SCHEDULE), SCHEDULE, n),
    "U-turn": lambda key, n: hm.u_turn(
        key, memoriser(SCHEDULE), SCHEDULE, np.zeros((n, 4), int), 25
    ),
    "discrete": lambda key, n: hm.sample_ancestral(key, memoriser(MASKED), MASKED, n),
    "joint": lambda key, n: hm.sample_ancestral(key, memoriser(MASKED), MASKED, n, joint=True),
    "any order": lambda key, n: hm.sample_any_order(key, memoriser(MASKED), MASKED, n),
    "discrete U-turn": lambda key, n: hm.u_turn(
        key, memoriser(MASKED), MASKED, np.zeros((n, 4), int), 4
    ),
}


def memoriser(process):
    return hm.empirical_denoiser(process, SEQUENCES, 3)


@pytest.mark.parametrize("name", DRAWS)
def test_draws_hang_on_the_key_alone(name):
    draw, key = DRAWS[name], jax.random.key(1, impl="rbg")
    many = draw(key, 12)
    assert len(np.unique(np.asarray(many).reshape(12, -1), axis=0)) > 1
    np.testing.assert_array_equal(draw(key, 4), many[:4])
    other = draw(jax.random.key(2, impl="rbg"), 12)
    assert not np.array_equal(other, many)
    mapped = jax.vmap(lambda key: draw(key, 4))(jnp.stack([key, key]))
    np.testing.assert_allclose(mapped[1], many[:4], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_other_keys_become_others_of_threefry(kind):
    assert threefry_key(jax.random.key(3, impl=THREEFRY)) == jax.random.key(3, impl=THREEFRY)
    keys = jax.random.split(jax.random.key(3, impl=kind), 50)
    turned = threefry_key(keys)
    assert str(jax.random.key_impl(turned)) == THREEFRY
    words = np.asarray(jax.random.key_data(turned))
    assert len(np.unique(words, axis=0)) == 50
    assert len(np.unique(words[:, 0])) > 45  # both words hang on all four
    assert len(np.unique(words[:, 1])) > 45
    one_by_one = jnp.stack([threefry_key(key) for key in keys])
    np.testing.assert_array_equal(jax.random.key_data(one_by_one), words)


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_its_checkpoints(kind, tmp_path):
    key = jax.random.key(4, impl=kind)
    assert init_params(key, NETWORK)
    ensemble = Ensemble(NETWORK, TRAINING, SCHEDULE, num_splits=1, num_seeds=2)

    def run(folder, epochs, key=key):
        options = {"identity": "a", "checkpoint_epochs": epochs, "progress": False}
        return train(key, ensemble, SEQUENCES[None], tmp_path / folder, **options).states

    with jax.default_prng_impl(kind):  # as who sets it everywhere
        whole = run("whole", [1, 2])
        run("parts", [1])
        parts = run("parts", [1, 2])
    for name, value in flatten_state(whole).items():
        np.testing.assert_array_equal(value, flatten_state(parts)[name], err_msg=name)
    # A member's key is one of Threefry, whatever it came from.
    same = run("same", [1, 2], threefry_key(key))
    for name, value in same.params.items():
        np.testing.assert_array_equal(value, whole.params[name], err_msg=name)


def test_a_state_with_another_kind_of_key_is_refused_by_name():
    ensemble = Ensemble(NETWORK, TRAINING, SCHEDULE, num_splits=1, num_seeds=1)
    saved = flatten_state(init_ensemble(jax.random.key(5), ensemble))
    member = init_member(jax.random.key(5), NETWORK)
    assert unflatten_state(saved, member).key.dtype == jax.random.key(5).dtype
    other = dataclasses.replace(member, key=jax.random.key(5, impl="rbg"))
    with pytest.raises(ValueError, match=r"key<fry>.* not key<rbg>"):
        unflatten_state(saved, other)


def test_runs_do_not_hang_on_the_kind_that_is_set():
    grammar = GrammarConfig("random", vocab_size=3, depth=2, rules_per_symbol=2)
    config = RunConfig(data=grammar, network=NETWORK, training=TRAINING)
    keys, tensors = [], []
    for kind in (THREEFRY, "rbg"):
        with jax.default_prng_impl(kind):
            keys.append(jax.random.key_data(run_key(config, "training")))
            tensors.append(grammar.build().to_tensor())
    np.testing.assert_array_equal(*keys)
    np.testing.assert_array_equal(*tensors)
