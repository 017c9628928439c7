"""Weight decay, running averages, and weights of the noise's steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hiermodel.diffusion.schedule import Schedule
from hiermodel.training.checkpoints import flatten_state
from hiermodel.training.epochs import epoch_batches, train_epochs
from hiermodel.training.in_folder import train
from hiermodel.training.losses import window_weights
from hiermodel.training.state import TrainingConfig, init_ensemble, init_member, learning_rate
from hiermodel.training.step import Batch, loss_and_gradient, step_weights_of, train_step

KEY = jax.random.key(3)
STEP = jax.jit(train_step, static_argnums=(2, 3))
GRADIENT = jax.jit(loss_and_gradient, static_argnums=(1, 2))


def changed(ensemble, **settings):
    return dataclasses.replace(
        ensemble, training=dataclasses.replace(ensemble.training, **settings)
    )


WINDOW = {"step_weighting": "outside_window", "weight_window": (0.1, 0.3), "window_weight": 0.2}
OPTIONS = [{"weight_decay": 0.1}, {"ema_decays": (0.9,)}, WINDOW]


# Each option.


def test_weight_decay_is_that_of_adamw(ensemble, sequences):
    training = dataclasses.replace(ensemble.training, weight_decay=0.3)
    network = ensemble.network
    params = init_member(KEY, network).params
    x_0, weights = sequences[0, :8].astype(jnp.int32), jnp.ones(8, jnp.float32)
    rows = Batch(x_0, weights, jnp.arange(8, dtype=jnp.uint32))
    reference = optax.adamw(1e-2, weight_decay=0.3)
    expected, reference_state = params, reference.init(params)
    opt_state = init_member(KEY, network).opt_state
    for count in range(3):
        key = jax.random.key(count)
        _, gradient = GRADIENT(expected, network, training, ensemble.schedule, rows, key)
        updates, reference_state = reference.update(gradient, reference_state, expected)
        expected = optax.apply_updates(expected, updates)
        params, opt_state, _, _ = STEP(
            params,
            opt_state,
            network,
            training,
            ensemble.schedule,
            (x_0, weights),
            key,
            jnp.float32(1e-2),
        )
        for name, value in params.items():
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=2e-6, err_msg=name)


def test_the_average_is_that_of_a_hand_written_loop(ensemble, sequences):
    """Two epochs of member 3 (split 1, seed 1), step by step."""
    averaging = changed(ensemble, ema_decays=(0.9,))
    states, _ = train_epochs(averaging, init_ensemble(KEY, averaging), sequences, jnp.int32(2))
    start = jax.tree.map(lambda leaf: leaf[3], init_ensemble(KEY, ensemble))
    params, opt_state = start.params, start.opt_state
    average = {name: np.asarray(value, np.float64) for name, value in params.items()}
    steps = 0
    for epoch in range(2):
        order_key, batches_key = jax.random.split(jax.random.fold_in(start.key, epoch))
        rows, weights = epoch_batches(order_key, 20, 8)
        for index in range(len(rows)):
            params, opt_state, _, _ = STEP(
                params,
                opt_state,
                ensemble.network,
                ensemble.training,
                ensemble.schedule,
                (sequences[1, rows[index]].astype(jnp.int32), weights[index]),
                jax.random.fold_in(batches_key, index),
                learning_rate(ensemble.training, epoch),
            )
            steps += 1
            stays = min(0.9, (1 + steps) / (10 + steps))
            for name, value in params.items():
                average[name] = stays * average[name] + (1 - stays) * np.asarray(value)
    for name, value in average.items():
        np.testing.assert_allclose(states.averages["0.9"][name][3], value, atol=1e-5, err_msg=name)


def test_an_average_does_not_change_what_is_trained(ensemble, sequences, assert_same_params):
    averaging = changed(ensemble, ema_decays=(0.9,))
    with_average, _ = train_epochs(
        averaging, init_ensemble(KEY, averaging), sequences, jnp.int32(2)
    )
    without, _ = train_epochs(ensemble, init_ensemble(KEY, ensemble), sequences, jnp.int32(2))
    assert without.averages == {}
    assert_same_params(with_average.params, without.params)
    assert np.any(
        with_average.averages["0.9"]["output_projection.kernel"]
        != without.params["output_projection.kernel"]
    )


def test_raw_weights_and_averages_of_one_run_are_saved_and_loaded_by_name(
    ensemble, sequences, tmp_path, saved, assert_same_params
):
    averaging = changed(ensemble, ema_decays=(0.9, 0.5))
    result = train(
        KEY, averaging, sequences, tmp_path, identity="a", checkpoint_epochs=[2], progress=False
    )
    kept = saved("")
    assert_same_params(kept.load_params(2, "raw"), result.states.params)
    assert_same_params(kept.load_params(2, 0.9), result.states.averages["0.9"])
    for weights in (0.5, "average", None):  # that of the smallest decay is the one to measure
        assert_same_params(kept.load_params(2, weights), result.states.averages["0.5"])
    assert_same_params(kept.load_params(0, 0.9), init_ensemble(KEY, ensemble).params)
    with pytest.raises(ValueError, match=r"weights=0.7.*'raw', 'average', 0.5, 0.9"):
        kept.load_params(2, 0.7)


def test_where_no_average_is_kept_there_is_none_to_load(ensemble, sequences, tmp_path, saved):
    train(KEY, ensemble, sequences, tmp_path, identity="a", checkpoint_epochs=[1], progress=False)
    assert saved("").load_params(1).keys() == saved("").load_params(1, "raw").keys()
    with pytest.raises(ValueError, match=r"weights='average'.*'raw'"):
        saved("").load_params(1, "average")


@pytest.mark.parametrize("window", [(0.1, 0.3), (0.0, 0.5), (1.0, 1.0)])
def test_window_weights_have_mean_1(window):
    schedule = Schedule.linear(50)
    weights = np.asarray(window_weights(schedule, window, 0.2))
    assert weights[0] == 0
    assert weights[1:].mean() == pytest.approx(1, abs=1e-6)
    time = np.arange(1, 51) / 50
    within = (window[0] <= time) & (time <= window[1])
    np.testing.assert_allclose(weights[1:], np.where(within, 0.2, 1) * weights[1:].max(), rtol=1e-6)


def test_window_weights_reach_the_loss(ensemble, sequences):
    schedule = ensemble.schedule
    training = dataclasses.replace(ensemble.training, **WINDOW)
    np.testing.assert_array_equal(
        step_weights_of(training, schedule), window_weights(schedule, (0.1, 0.3), 0.2)
    )
    assert step_weights_of(ensemble.training, schedule) is None
    plain = loss_of(ensemble, sequences)
    same = loss_of(changed(ensemble, **(WINDOW | {"window_weight": 1.0})), sequences)
    other = loss_of(changed(ensemble, **WINDOW), sequences)
    assert plain == pytest.approx(same, rel=1e-6)
    assert abs(plain - other) > 1e-3


def loss_of(ensemble, sequences):
    params = init_member(KEY, ensemble.network).params
    rows = Batch(
        sequences[0, :8].astype(jnp.int32),
        jnp.ones(8, jnp.float32),
        jnp.arange(8, dtype=jnp.uint32),
    )
    training, schedule = ensemble.training, ensemble.schedule
    return float(GRADIENT(params, ensemble.network, training, schedule, rows, KEY)[0])


# All options.


@pytest.mark.parametrize("options", OPTIONS, ids=["decay", "average", "window"])
def test_each_option_resumes_to_the_last_bit(
    ensemble, sequences, saved, train_in_parts, options, assert_same_params
):
    whole, parts = train_in_parts(KEY, changed(ensemble, **options), sequences)
    assert_same_params(flatten_state(whole), flatten_state(parts))
    plain, _ = train_epochs(ensemble, init_ensemble(KEY, ensemble), sequences, jnp.int32(3))
    measured = saved("parts").load_params(3)
    assert any(np.any(measured[name] != value) for name, value in plain.params.items())


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("weight_decay", {"weight_decay": -0.1}),
        ("ema_decays", {"ema_decays": (1.0,)}),
        ("ema_decays", {"ema_decays": (0.9, 0.9)}),
        ("weight_window", {"step_weighting": "outside_window"}),
        ("weight_window", {"weight_window": (0.1, 0.2)}),
        ("weight_window", WINDOW | {"weight_window": (0.3, 0.2)}),
        ("weight_window", WINDOW | {"weight_window": (0, 1), "window_weight": 0.0}),
        ("window_weight", {"window_weight": -1.0}),
    ],
)
def test_wrong_settings_are_refused(field, settings, unchecked_types):
    with pytest.raises(ValueError, match=field):
        TrainingConfig(num_epochs=10, **settings)
