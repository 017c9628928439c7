"""The tree U-Net: what it computes, its symmetry, and belief propagation by weights set by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies

import hiermodel as hm
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.network import apply, init_params, param_shapes
from hiermodel.networks.tree_unet import TreeUNetConfig

KEY = jax.random.key(0)
run = jax.jit(apply, static_argnums=0, static_argnames="remat")
SMALL = TreeUNetConfig(2, 2, 3, width=8)
NEVER = -1e9
"""A log-weight whose exponential is exactly 0."""


def noisy(config, *batch):
    shape = (*batch, config.num_leaves, config.vocab_size)
    return jax.random.normal(jax.random.key(1), shape, jnp.float32)


def closed_form(config, params, x_t, t):
    """One sequence in float64, node by node; GELU, RMS norm and an additive embedding of t."""
    p = {name: np.asarray(value, np.float64) for name, value in params.items()}
    frequencies = np.exp(-np.log(1e4) * np.arange(16) / 16)
    features = np.concatenate([np.cos(t * frequencies), np.sin(t * frequencies)])

    def linear(name, h):
        return h @ p[f"{name}.kernel"] + p[f"{name}.bias"]

    def run(index, *nodes):
        name = f"blocks.{index}"
        h = linear(f"{name}.first", np.concatenate(nodes)) + linear(f"{name}.time", features)
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        h = linear(f"{name}.second", h).reshape(-1, config.width)
        return p[f"{name}.norm.scale"] * h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-5)

    s, depth = config.branching, config.depth
    levels = [[linear("input_projection", leaf) for leaf in np.asarray(x_t, np.float64)]]
    for index in range(depth):
        below = levels[-1]
        blocks = range(0, len(below), s)
        levels.append([run(index, *below[i : i + s])[0] for i in blocks])
    above = levels[-1]
    for index in range(depth):
        below = levels[depth - 1 - index]
        above = [
            child
            for i, parent in enumerate(above)
            for child in run(depth + index, parent, *below[i * s : (i + 1) * s])
        ]
    pairs = zip(above, levels[0], strict=True)
    return np.stack([linear("output_projection", np.concatenate(pair)) for pair in pairs])


@pytest.mark.parametrize("shape", [(1, 2), (3, 2), (2, 3)])
def test_it_computes_what_it_says(shape):
    config = TreeUNetConfig(*shape, 3, width=8)
    params, x_t = init_params(KEY, config), noisy(config, 2)
    logits = run(config, params, x_t, jnp.array([3, 17]))
    for row, t in enumerate((3, 17)):
        np.testing.assert_allclose(logits[row], closed_form(config, params, x_t[row], t), atol=1e-4)


OPTIONS = [
    {"hidden_factor": 0},
    {"activation": "relu", "norm": "layer"},
    {"activation": "silu", "norm": "none"},
    {"time": "gain"},
    {"time": "posterior", "num_steps": 50},
    {"activation": "log_sum_exp", "pieces": 3, "norm": "log_softmax"},
    {"time": "log_posterior", "num_steps": 50, "hidden_factor": 0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_acts_and_has_gradients(options):
    config = dataclasses.replace(SMALL, **options)
    params, x_t = init_params(KEY, config), noisy(config, 2)

    def loss(params, t):
        return (run(config, params, x_t, t) ** 2).mean()

    value, gradient = jax.value_and_grad(loss)(params, jnp.int32(5))
    assert np.isfinite(value)
    assert all(np.abs(part).max() > 0 for part in gradient.values())
    assert abs(value - loss(params, jnp.int32(40))) > 1e-6  # t tells
    plain = run(SMALL, init_params(KEY, SMALL), x_t, jnp.int32(5))
    assert np.abs(run(config, params, x_t, jnp.int32(5)) - plain).max() > 1e-3


def test_remat_changes_nothing():
    params, x_t = init_params(KEY, SMALL), noisy(SMALL, 2)

    def gradient(remat):
        def loss(params):
            return (run(SMALL, params, x_t, jnp.int32(5), remat=remat) ** 2).mean()

        return jax.grad(loss)(params)

    for one, other in zip(*map(jax.tree.leaves, (gradient(False), gradient(True))), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("time", ["posterior", "log_posterior"])
def test_shown_posteriors_are_all_that_it_sees(time):
    """The softmax of sqrt(abar_t) / (1 − abar_t) x_t, whatever x_t and t it comes from."""
    config = dataclasses.replace(SMALL, time=time, num_steps=50)
    params, x_t = init_params(KEY, config), noisy(config, 2)
    alpha_bar = np.asarray(hm.Schedule.linear(50).alpha_bar, np.float64)
    factor = np.sqrt(alpha_bar) / np.maximum(1 - alpha_bar, 1e-9)
    logits = run(config, params, x_t, jnp.int32(20))
    same = x_t * np.float32(factor[20] / factor[30]) + 0.7  # a constant leaves a posterior
    np.testing.assert_allclose(run(config, params, same, jnp.int32(30)), logits, atol=1e-4)
    assert np.abs(run(config, params, x_t, jnp.int32(30)) - logits).max() > 1e-3
    # With the posteriors as plain input, of a network that is told no t, it is the same.
    shown = np.exp(factor[20] * np.asarray(x_t, np.float64))
    shown /= shown.sum(-1, keepdims=True)
    shown = np.log(shown) if time == "log_posterior" else shown
    blind = dict(params)
    for index in range(2 * config.depth):
        units = params[f"blocks.{index}.first.bias"].shape
        blind[f"blocks.{index}.time.kernel"] = jnp.zeros((config.time_features, *units))
        blind[f"blocks.{index}.time.bias"] = jnp.zeros(units)
    plain = run(SMALL, blind, jnp.asarray(shown, jnp.float32), jnp.int32(20))
    np.testing.assert_allclose(plain, logits, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"time": "posterior", "num_steps": 50}], ids=str)
def test_relabelled_symbols_with_permuted_weights(options):
    config, order = dataclasses.replace(SMALL, **options), np.array([2, 0, 1])
    params, x_t = init_params(KEY, config), noisy(config, 4)
    permuted = params | {
        "input_projection.kernel": params["input_projection.kernel"][order],
        "output_projection.kernel": params["output_projection.kernel"][:, order],
        "output_projection.bias": params["output_projection.bias"][order],
    }
    expected = run(config, params, x_t, jnp.int32(7))[..., order]
    found = run(config, permuted, x_t[..., order], jnp.int32(7))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_are_shared_within_a_level():
    """Subtrees swapped, with maps that treat siblings alike, give swapped outputs."""
    config = dataclasses.replace(SMALL, hidden_factor=0)
    params, half = init_params(KEY, config), config.width
    for index in range(4):
        name = f"blocks.{index}.first.kernel"
        kernel = params[name]
        alike = kernel[-half:] if index < 2 else jnp.tile(kernel[-half:, :half], (1, 2))
        rest = kernel[: -2 * half, :half]
        rest = jnp.tile(rest, (1, 1 if index < 2 else 2))
        params[name] = jnp.concatenate([rest, alike, alike])
        for part in ("first.bias", "time.kernel", "time.bias"):
            value = params[f"blocks.{index}.{part}"]
            copies = value.shape[-1] // half
            params[f"blocks.{index}.{part}"] = jnp.tile(value[..., :half], copies)
    x_t = noisy(config, 2)
    logits = run(config, params, x_t, jnp.int32(7))
    swapped = run(config, params, x_t[:, np.array([2, 3, 0, 1])], jnp.int32(7))
    np.testing.assert_allclose(swapped, logits[:, np.array([2, 3, 0, 1])], atol=1e-5)


def test_number_of_parameters():
    """At width C and s = 2: 6 C² per level on the way down, 10 C² on the way up, and the ends."""
    shapes = param_shapes(TreeUNetConfig(4, 2, 6))
    kernels = sum(
        np.prod(shape)
        for name, shape in shapes.items()
        if name.startswith("blocks") and name.endswith("kernel") and "time" not in name
    )
    assert kernels == 4 * 16 * 128**2
    assert shapes["input_projection.kernel"] == (6, 128)
    assert shapes["output_projection.kernel"] == (256, 6)


def test_golden_values():
    """What a fixed key gives: weights saved today keep their meaning."""
    config = TreeUNetConfig(2, 2, 3, width=8)
    x_t = jnp.eye(4, 3, dtype=jnp.float32)[None]
    logits = run(config, init_params(jax.random.key(7), config), x_t, jnp.int32(5))
    np.testing.assert_allclose(logits[0], GOLDEN, atol=2e-5)


GOLDEN = [
    [0.08017, 0.48671, 0.88048],
    [0.00937, 0.22031, 0.05573],
    [0.51434, 0.14292, 0.67929],
    [0.52799, 0.07112, 0.2771],
]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", 0),
        ("branching", 1),
        ("vocab_size", 1),
        ("width", 0),
        ("hidden_factor", -1),
        ("activation", "tanh"),
        ("pieces", 2),
        ("norm", "batch"),
        ("time", "none"),
        ("num_steps", 50),
        ("time_features", 3),
        ("dropout", 1.0),
    ],
)
def test_wrong_configs_are_refused(field, value, unchecked_types):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(SMALL, **{field: value})
    with pytest.raises(ValueError, match="num_steps"):
        dataclasses.replace(SMALL, time="posterior")


# Belief propagation by hand (science.md#f8).


def rules_with_child(children):
    """Indices (branching, vocab_size, most) of the flattened rules in which a child has a symbol.

    Shorter lists are padded with the index one past the last rule.
    """
    vocab_size = len(children)
    flat = children.reshape(-1, children.shape[-1])
    lists = [
        [np.flatnonzero(flat[:, position] == symbol) for symbol in range(vocab_size)]
        for position in range(flat.shape[1])
    ]
    most = max(len(entry) for row in lists for entry in row)
    users = np.full((flat.shape[1], vocab_size, most), len(flat))
    for position, row in enumerate(lists):
        for symbol, entry in enumerate(row):
            users[position, symbol, : len(entry)] = entry
    return users


def belief_propagation(grammar, num_steps):
    """Config and parameters, in float64, of the tree U-Net that is the exact denoiser."""
    q, s, depth = grammar.vocab_size, grammar.branching, grammar.depth
    users = [
        rules_with_child(grammar.rules.children[grammar.table_index(level)])
        for level in range(depth)
    ]
    pieces = max(grammar.rules.children.shape[2], *(part.shape[-1] for part in users))
    config = TreeUNetConfig(
        depth,
        s,
        q,
        width=q,
        hidden_factor=0,
        activation="log_sum_exp",
        pieces=pieces,
        norm="log_softmax",
        time="log_posterior",
        num_steps=num_steps,
    )
    params = {
        "input_projection.kernel": np.eye(q),
        "input_projection.bias": np.zeros(q),
        "output_projection.kernel": np.concatenate([np.eye(q), np.eye(q)]),
        "output_projection.bias": np.zeros(q),
    }
    log_weights = np.maximum(np.asarray(grammar.log_weights, np.float64), NEVER)
    prior = np.maximum(np.asarray(grammar.root_log_probs, np.float64), NEVER)
    for level in range(depth):
        weights = log_weights[grammar.table_index(level)]
        children = grammar.rules.children[grammar.table_index(level)]
        down = np.zeros((s, q, q, pieces)), np.full((q, pieces), NEVER)
        for parent, rule in np.ndindex(weights.shape):
            for place, symbol in enumerate(children[parent, rule]):
                down[0][place, symbol, parent, rule] += 1
            down[1][parent, rule] = weights[parent, rule]
        # From above: the parent's features and the other siblings' give those of one child.
        up = np.zeros((1 + s, q, s, q, pieces)), np.full((s, q, pieces), NEVER)
        for place, symbol, piece in np.ndindex(users[level].shape):
            if users[level][place, symbol, piece] == weights.size:
                continue
            parent, rule = divmod(users[level][place, symbol, piece], weights.shape[1])
            up[1][place, symbol, piece] = weights[parent, rule]
            if level == 0:  # there the prior, and not the root's own message, comes from above
                up[1][place, symbol, piece] += prior[parent]
            else:
                up[0][0, parent, place, symbol, piece] += 1
            for other, sibling in enumerate(children[parent, rule]):
                if other != place:
                    up[0][1 + other, sibling, place, symbol, piece] += 1
        for index, (kernel, bias) in ((depth - 1 - level, down), (depth + level, up)):
            name = f"blocks.{index}.first"
            params[f"{name}.bias"] = bias.reshape(-1)
            params[f"{name}.kernel"] = kernel.reshape(-1, bias.size)
    return config, {name: jnp.asarray(value) for name, value in params.items()}


@pytest.mark.parametrize(
    "structure", [strategies.AMBIGUOUS, strategies.TERNARY, strategies.HIERARCHY, strategies.DEEP]
)
def test_weights_set_by_hand_are_belief_propagation(structure):
    """Per-level and shared rules, ambiguous ones, three children, an impossible root symbol."""
    case = strategies.build(structure, np.random.default_rng(4), root="some impossible")
    assert_is_exact(case.grammar)


def test_weights_set_by_hand_are_the_papers_exact_denoiser():
    assert_is_exact(hm.paper_grammar())


def assert_is_exact(grammar):
    schedule = hm.Schedule.linear(50)
    config, params = belief_propagation(grammar, 50)
    network = learned_denoiser(config, params, hm.Schedule.linear(50))
    exact = hm.exact_denoiser(grammar, schedule)
    leaves = hm.sample_leaves(KEY, grammar, 12)
    t = jnp.array([1, 2, 4, 7, 10, 15, 20, 25, 30, 35, 40, 50])
    x_t = hm.add_noise(KEY, schedule, hm.one_hot(leaves, grammar.vocab_size), t)
    np.testing.assert_allclose(np.exp(network(x_t, t)), np.exp(exact(x_t, t)), atol=1e-5)
