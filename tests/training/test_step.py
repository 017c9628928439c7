"""Losses, the rate, and one step of training against an independent computation in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.network import apply
from hiermodel.networks.targets import SymbolLogits
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.random_bits import row_key
from hiermodel.training.losses import batch_loss, position_losses, variational_weights
from hiermodel.training.state import OPTIMISER, TrainingConfig, init_member, learning_rate
from hiermodel.training.step import (
    Batch,
    draw_inputs,
    loss_and_gradient,
    step_loss,
    train_step,
)

KEY = jax.random.key(0)
SCHEDULE = Schedule.linear(50)


def random_batch():
    logits = jax.random.normal(KEY, (6, 4, 3), jnp.float32)
    return logits, jax.random.randint(jax.random.key(1), (6, 4), 0, 3, jnp.int32)


def test_losses_are_what_their_formulas_say():
    logits, x_0 = random_batch()
    exponentials = np.exp(np.asarray(logits, np.float64))
    probs = exponentials / exponentials.sum(-1, keepdims=True)
    one_hot = np.eye(3)[np.asarray(x_0)]
    expected = -np.log((probs * one_hot).sum(-1))
    np.testing.assert_allclose(position_losses(logits, x_0, "cross_entropy"), expected, rtol=1e-5)
    squared = ((probs - one_hot) ** 2).sum(-1)
    np.testing.assert_allclose(position_losses(logits, x_0, "squared_error"), squared, rtol=1e-5)


def test_padding_rows_count_for_nothing():
    logits, x_0 = random_batch()
    weights = jnp.array([1, 1, 1, 1, 0, 0], jnp.float32)
    spoiled = logits.at[4:].set(jnp.inf)
    padded = batch_loss(spoiled, x_0, weights)
    np.testing.assert_allclose(padded, batch_loss(logits[:4], x_0[:4], weights[:4]), rtol=1e-6)


def test_step_weights_multiply_rows():
    logits, x_0 = random_batch()
    ones, factors = jnp.ones(6, jnp.float32), jnp.arange(6, dtype=jnp.float32)
    rows = [float(batch_loss(logits[i : i + 1], x_0[i : i + 1], ones[:1])) for i in range(6)]
    weighted = batch_loss(logits, x_0, ones, factors)
    np.testing.assert_allclose(weighted, np.mean(np.arange(6) * rows), rtol=1e-5)


def test_variational_weights_agree_with_the_reference(reference):
    weights = variational_weights(Schedule.linear(500))
    expected = reference("schedule")["T500/vlb_weights"]
    np.testing.assert_allclose(weights[1:], expected, rtol=1e-4)
    assert weights[0] == 0


# The rate.


def test_rate_of_the_paper():
    config = TrainingConfig(num_epochs=250)
    rates = {epoch: float(learning_rate(config, epoch)) / 3e-4 for epoch in range(300)}
    expected = {0: 1, 10: 0.9, 25: 0.75, 49: 0.51, 50: 0.5, 150: 0.3, 250: 0.1, 299: 0.1}
    for epoch, factor in expected.items():
        assert rates[epoch] == pytest.approx(factor, abs=1e-6), epoch
    assert all(rates[epoch + 1] <= rates[epoch] for epoch in range(299))


def test_other_rates():
    cosine = TrainingConfig(num_epochs=100, rate_schedule="cosine", learning_rate=1.0)
    factors = [float(learning_rate(cosine, epoch)) for epoch in (0, 50, 100)]
    np.testing.assert_allclose(factors, [1, 0.55, 0.1], atol=1e-6)
    constant = dataclasses.replace(cosine, rate_schedule="constant")
    assert float(learning_rate(constant, 70)) == 1


def test_a_training_shorter_than_the_decay_only_decays():
    config = TrainingConfig(num_epochs=20, learning_rate=1.0)
    assert float(learning_rate(config, 19)) == pytest.approx(1 - 19 / 100)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("rate_schedule", "linear"),
        ("loss", "hinge"),
        ("decay_epochs", 0),
        ("final_factor", -1.0),
        ("step_weighting", "snr"),
        ("compute_dtype", "float8"),
        ("micro_batch_size", 0),
    ],
)
def test_wrong_settings_are_refused(field, value, unchecked_types):
    with pytest.raises(ValueError, match=field):
        TrainingConfig(**({"num_epochs": 10} | {field: value}))


# One step.


def test_inputs_have_the_distribution_of_the_noise():
    x_0 = jnp.zeros((20_000, 1), jnp.int32)
    x_t, t, _ = draw_inputs(row_key(KEY, 20_000), SymbolLogits(1, 2), SCHEDULE, x_0, "float32")
    assert (int(t.min()), int(t.max())) == (1, 50)
    counts = np.bincount(t, minlength=51)[1:]
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400)
    alpha_bar = np.asarray(SCHEDULE.alpha_bar)[np.asarray(t)]
    noise = (np.asarray(x_t)[:, 0, 0] - np.sqrt(alpha_bar)) / np.sqrt(1 - alpha_bar)
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)


def numpy_loss(params, x_t, t, x_0, row_weights):
    """The one-block perceptron of test_golden_step, written again without JAX."""
    half = 2
    angles = t[:, None] * 1e4 ** (-np.arange(half) / half)
    features = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)

    def linear(name, h):
        return h @ params[f"{name}.kernel"] + params[f"{name}.bias"]

    def norm(name, h):
        h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
        return h * params[f"{name}.scale"] + params[f"{name}.bias"]

    h = linear("input_projection", x_t.reshape(len(x_t), -1)) + linear("time_embedding", features)
    hidden = np.maximum(linear("blocks.0.hidden", norm("blocks.0.norm", h)), 0)
    h = norm("final_norm", h + linear("blocks.0.output", hidden))
    logits = linear("output_projection", h).reshape(x_t.shape)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_probs, x_0[..., None], -1)[..., 0]
    return (losses.mean(-1) * row_weights).sum() / row_weights.sum()


def finite_differences(params, loss):
    """Gradient by central differences, each component by itself."""
    gradient = {name: np.zeros_like(value) for name, value in params.items()}
    for name, value in params.items():
        for index in np.ndindex(value.shape):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = value.copy()
                moved[index] += shift
                ends.append(loss(params | {name: moved}))
            gradient[name][index] = (ends[0] - ends[1]) / 2e-5
    return gradient


@pytest.fixture
def double_precision():
    """Finite differences need 64 bits, whatever the other tests run in."""
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("double_precision")
def test_golden_step():
    """Two steps of the library equal loss, gradient and Adam written out in NumPy.

    If it fails: the loss is compared first (network, noise or weighting differ), then the
    gradient's norm (its formula), then the parameters (Adam or its rate).
    """
    network = MLPConfig(2, 2, width=3, num_blocks=1, time_features=4)
    training = TrainingConfig(num_epochs=1, learning_rate=1e-2)
    state = init_member(KEY, network, jnp.float64)
    params, opt_state = state.params, state.opt_state
    x_0 = jnp.array([[0, 1], [1, 1], [0, 0], [1, 0]], jnp.int32)
    row_weights = jnp.array([1.0, 1, 1, 0])
    ours = {name: np.array(value) for name, value in params.items()}
    first = {name: np.zeros_like(value) for name, value in ours.items()}
    second = {name: np.zeros_like(value) for name, value in ours.items()}
    step = jax.jit(train_step, static_argnums=(2, 3))
    for count in (1, 2):
        key = jax.random.key(count)
        rows = row_key(key, 4).split(2)[0]
        x_t, t, _ = draw_inputs(rows, network.target, SCHEDULE, x_0, "float64")
        inputs = (np.asarray(x_t), np.asarray(t), np.asarray(x_0), np.asarray(row_weights))
        params, opt_state, loss, norm = step(
            params, opt_state, network, training, SCHEDULE, (x_0, row_weights), key, jnp.array(0.01)
        )
        assert float(loss) == pytest.approx(numpy_loss(ours, *inputs), rel=1e-9)
        gradient = finite_differences(ours, lambda p, inputs=inputs: numpy_loss(p, *inputs))
        expected_norm = np.sqrt(sum((value**2).sum() for value in gradient.values()))
        assert float(norm) == pytest.approx(expected_norm, rel=1e-6)
        for name, g in gradient.items():
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            mean, square = first[name] / (1 - 0.9**count), second[name] / (1 - 0.999**count)
            ours[name] -= 0.01 * mean / (np.sqrt(square) + 1e-8)
            # Where a gradient is next to nothing, Adam divides noise by noise: g = 0 ± 1e-11.
            settled = np.abs(g) > 1e-6
            np.testing.assert_allclose(
                np.asarray(params[name])[settled], ours[name][settled], atol=1e-6, err_msg=name
            )
        ours = {name: np.array(value) for name, value in params.items()}


def test_adam_has_the_papers_constants():
    params = {"w": jnp.array([1.0, -2.0, 0.5], jnp.float32)}
    updates, state = OPTIMISER.update(params, OPTIMISER.init(params))
    # The first step of Adam is the sign of the gradient, up to epsilon and float32's 1 − 0.999.
    np.testing.assert_allclose(updates["w"], [1, -1, 1], rtol=1e-4)
    updates, _ = OPTIMISER.update({"w": jnp.zeros(3, jnp.float32)}, state)
    mean, square = 0.09 / 0.19, 0.000999 / 0.001999
    np.testing.assert_allclose(
        updates["w"], np.array([1, -1, 1]) * mean / np.sqrt(square), rtol=1e-4
    )


def test_variational_weighting_reaches_the_loss():
    network = MLPConfig(2, 2, width=4, num_blocks=1)
    training = TrainingConfig(num_epochs=1, step_weighting="variational")
    params = init_member(KEY, network).params
    x_0, ones = jnp.array([[0, 1]], jnp.int32), jnp.ones(1, jnp.float32)
    batch = Batch(x_0, ones, jnp.zeros(1, jnp.uint32))
    rows = row_key(KEY, 1).split(2)[0]
    x_t, t, _ = draw_inputs(rows, network.target, SCHEDULE, x_0, "float32")
    plain = batch_loss(jax.jit(apply, static_argnums=0)(network, params, x_t, t), x_0, ones)
    weight = variational_weights(SCHEDULE)[int(t[0])]
    run = jax.jit(step_loss, static_argnums=(1, 2))
    loss = run(params, network, training, SCHEDULE, batch, KEY)
    np.testing.assert_allclose(loss, plain * weight, rtol=1e-5)


# How a step is computed: none of it changes more than rounding.


TRANSFORMER = TransformerConfig(4, 3, width=8, num_layers=1, num_heads=2, dropout=0.2)
MLP = MLPConfig(4, 3, width=8, num_blocks=1, dropout=0.2)
GRADIENT = jax.jit(loss_and_gradient, static_argnums=(1, 2))


def gradient(network, **options):
    """Loss and gradient of a batch of 7 rows, of which 6 are real."""
    x_0 = jax.random.randint(jax.random.key(1), (7, 4), 0, 3, jnp.int32)
    batch = Batch(x_0, jnp.ones(7, jnp.float32).at[6].set(0), jnp.arange(7, dtype=jnp.uint32))
    params = init_member(jax.random.key(2), network).params
    training = TrainingConfig(num_epochs=1, **options)
    return GRADIENT(params, network, training, SCHEDULE, batch, KEY)


def assert_close(one, other, tolerance):
    for (path, ours), theirs in zip(
        jax.tree.leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=str(path))


@pytest.mark.parametrize(
    "network",
    [pytest.param(TRANSFORMER, marks=pytest.mark.long), MLP],
    ids=["transformer", "mlp"],
)
def test_memory_saving_options_change_only_rounding(network):
    """Micro-batches (7 rows in 3 parts, dropout included), with blocks computed again."""
    saving = gradient(network, micro_batch_size=3, remat=True)
    assert_close(saving, gradient(network), 1e-6)


def test_bfloat16_rounds_products_and_nothing_else():
    whole, rounded = gradient(TRANSFORMER), gradient(TRANSFORMER, compute_dtype="bfloat16")
    # bfloat16 has 8 bits, so 2^-8 per operation; gradients here are of order 0.1.
    assert_close(whole, rounded, 0.02)
    assert any(
        np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-5
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(rounded), strict=True)
    )
    # In the program itself: all products of the blocks are bfloat16, and nothing is summed,
    # exponentiated or divided in it.
    params = init_member(KEY, TRANSFORMER).params
    x_t, t = jnp.zeros((2, 4, 3), jnp.float32), jnp.int32(1)

    def total(params):
        return apply(TRANSFORMER, params, x_t, t, compute_dtype=jnp.bfloat16).sum()

    text = str(jax.make_jaxpr(jax.grad(total))(params))
    lines = [line for line in text.splitlines() if "bf16" in line.partition("=")[0]]
    operations = {line.partition("=")[2].split()[0].partition("[")[0] for line in lines}
    assert operations <= {"convert_element_type", "dot_general", "transpose", "pjit", "mul"}
    # Forward: per block 4 maps and 2 products of attention; backward: twice as many.
    assert sum("dot_general" in line for line in lines) == 3 * 6 * TRANSFORMER.num_layers
