"""Fresh data: what is drawn, that nothing is seen twice, and that a resumed training goes on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from hiermodel.training.data import FreshData, as_data, fresh
from hiermodel.training.epochs import train_epochs
from hiermodel.training.in_folder import train
from hiermodel.training.privacy import PrivacyConfig
from hiermodel.training.state import init_ensemble

KEY = jax.random.key(3)
GRAMMAR = hm.Grammar.random(KEY, vocab_size=3, depth=2, rules_per_symbol=2)


def drawn(data, key):
    """A batch of the stacked data."""
    stacked = data.stack([data, data], hm.networks.SymbolLogits(4, 3))
    return jax.jit(lambda key: stacked.batch(jnp.int32(1), jnp.arange(50), key))(key)


def test_a_batch_is_drawn_from_the_law():
    rows = drawn(fresh(GRAMMAR, 20), KEY)
    np.testing.assert_array_equal(rows, hm.sample_leaves(KEY, GRAMMAR, 50))
    filtered = drawn(fresh(GRAMMAR, 20, filter_level=2), KEY)
    np.testing.assert_array_equal(filtered, hm.sample_leaves(KEY, GRAMMAR, 50, filter_level=2))
    assert np.any(np.asarray(rows) != drawn(fresh(GRAMMAR, 20), jax.random.key(4)))


def test_an_epoch_is_so_many_draws_and_no_two_are_alike(ensemble):
    """A law whose draws are their own number shows all of them to the loss."""
    seen = []

    def draw(key, law, num_rows):
        rows = jax.random.randint(key, (num_rows, 4), 0, 3)
        jax.debug.callback(lambda rows: seen.append(np.asarray(rows)), rows)
        return rows

    one = dataclasses.replace(ensemble, num_splits=1, num_seeds=1)
    data = FreshData.of(jnp.zeros(1), draw, 20)
    stacked = data.stack([data], one.network.target)
    seen.clear()
    states, stats = train_epochs(one, init_ensemble(KEY, one), stacked, jnp.int32(2))
    jax.block_until_ready(states)
    jax.effects_barrier()
    assert len(seen) == 6  # 20 draws are two batches of 8 and one of 4, filled up
    assert len(np.unique(np.stack(seen).reshape(6, -1), axis=0)) == 6
    assert np.isfinite(stats.loss).all()
    assert list(states.epoch) == [2]


def test_a_resumed_training_draws_on(ensemble, sequences, train_in_parts, assert_same_params):
    whole, parts = train_in_parts(KEY, ensemble, fresh(GRAMMAR, 20))
    assert_same_params(whole.params, parts.params)
    stored, _ = train_epochs(ensemble, init_ensemble(KEY, ensemble), sequences, jnp.int32(3))
    name = "output_projection.kernel"
    assert np.any(whole.params[name] != stored.params[name])


def test_what_fresh_data_refuse(ensemble, tmp_path):
    options = {"identity": "a", "checkpoint_epochs": [1], "progress": False}
    other = hm.Grammar.random(KEY, vocab_size=4, depth=2, rules_per_symbol=2)
    longer = hm.Grammar.random(KEY, vocab_size=3, depth=3, rules_per_symbol=2)
    with pytest.raises(ValueError, match=r"draw\(key, law, 2\)"):
        train(KEY, ensemble, fresh(longer, 20), tmp_path, **options)
    private = dataclasses.replace(
        ensemble.training, privacy=PrivacyConfig(clip_norm=0.5, noise_multiplier=2.0)
    )
    with pytest.raises(ValueError, match="privacy"):
        train(
            KEY,
            dataclasses.replace(ensemble, training=private),
            fresh(GRAMMAR, 20),
            tmp_path,
            **options,
        )
    assert as_data(fresh(other, 20)).form != fresh(GRAMMAR, 20).form
