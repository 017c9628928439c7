"""Networks beside empirical denoisers of blocks, and what can be read off their layers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodel as hm
from experiments.store import Measurement
from experiments.theory import f2b, f7b, f7c, f9
from experiments.theory.activations import activations, attention_by_height, heights
from experiments.theory.blocks import block_log_probs, explained
from experiments.theory.probes import probe_accuracies
from experiments.theory.training import Regime
from figures.theory import f2b as chunks
from figures.theory import f7b as layers
from figures.theory import f7c as oracles
from figures.theory import f9 as blocks
from figures.theory.family import all_families, by_number
from hiermodel.networks import TransformerConfig, TreeUNetConfig
from hiermodel.networks.network import init_params

KEY = jax.random.key(0)
SYMBOLS, LEAVES = 3, 4
SCHEDULE = hm.Schedule.linear(20)
T = jnp.array([3, 8, 8, 14, 20])


@pytest.fixture(scope="module")
def rows():
    return np.asarray(jax.random.randint(KEY, (7, LEAVES), 0, SYMBOLS))


@pytest.fixture(scope="module")
def x_t(rows):
    return SCHEDULE.corrupt(jax.random.key(1), SCHEDULE.encode(rows[:5], SYMBOLS), T)


def of_blocks(rows, x_t, size, **options):
    return np.exp(block_log_probs(SCHEDULE, rows, SYMBOLS, size, x_t, T, **options))


def test_blocks_of_all_leaves_are_the_empirical_denoiser(rows, x_t):
    whole = np.exp(hm.empirical_denoiser(SCHEDULE, rows, SYMBOLS)(x_t, T))
    for pooled in (False, True):
        np.testing.assert_allclose(of_blocks(rows, x_t, LEAVES, pooled=pooled), whole, atol=1e-5)


def test_blocks_of_one_leaf_take_each_leaf_by_its_own_law(rows, x_t):
    """Shares of symbols, of the leaf or of all leaves, times the likelihood of the noisy leaf."""
    likelihood = np.exp(SCHEDULE.evidence(x_t, T))
    shares = np.eye(SYMBOLS)[rows].mean(0)
    for pooled, prior in ((False, shares), (True, shares.mean(0))):
        wanted = prior * likelihood
        wanted /= wanted.sum(-1, keepdims=True)
        np.testing.assert_allclose(of_blocks(rows, x_t, 1, pooled=pooled), wanted, atol=1e-5)


def test_a_block_is_denoised_from_its_own_leaves_and_those_of_its_place(rows, x_t):
    own = of_blocks(rows, x_t, 2)
    half = np.exp(hm.empirical_denoiser(SCHEDULE, rows[:, 2:], SYMBOLS)(x_t[:, 2:], T))
    np.testing.assert_allclose(own[:, 2:], half, atol=1e-5)
    both = np.concatenate([rows[:, :2], rows[:, 2:]])
    half = np.exp(hm.empirical_denoiser(SCHEDULE, both, SYMBOLS)(x_t[:, 2:], T))
    np.testing.assert_allclose(of_blocks(rows, x_t, 2, pooled=True)[:, 2:], half, atol=1e-5)
    other = np.array(x_t)
    other[:, :2] = 0
    np.testing.assert_array_equal(of_blocks(rows, jnp.asarray(other), 2)[:, 2:], own[:, 2:])


def test_a_denoiser_explains_all_of_itself_and_the_marginal_nothing(rows, x_t):
    own, marginal = of_blocks(rows, x_t, 2), np.eye(SYMBOLS)[rows].mean(0)
    assert explained(own, own, marginal) == 1
    assert explained(own, np.broadcast_to(marginal, own.shape), marginal) == pytest.approx(0)
    halfway = (own + marginal) / 2
    assert explained(own, halfway, marginal) == pytest.approx(0.75)
    assert explained(own[None], np.stack([own, own * 0 + marginal]), marginal).shape == (2,)


NETWORKS = {
    "transformer": TransformerConfig(
        LEAVES, SYMBOLS, 8, num_layers=2, num_heads=2, dropout=0.0, start="independent_blocks"
    ),
    "pre-norm": TransformerConfig(
        LEAVES, SYMBOLS, 8, num_layers=2, num_heads=2, dropout=0.0, pre_norm=True
    ),
    "tree": TreeUNetConfig(2, 2, SYMBOLS, width=8),
}


@pytest.mark.parametrize("name", ["transformer", "tree"])
def test_the_last_layer_is_what_the_output_is_read_from(name, x_t):
    network = NETWORKS[name]
    params = init_params(KEY, network)
    seen = activations(network, params, x_t, T)
    assert seen.shape == (1 + len(network.bind(params).blocks), len(T), LEAVES, 8)
    first = x_t @ params["input_projection.kernel"] + params["input_projection.bias"]
    np.testing.assert_allclose(seen[0], first, atol=1e-5)
    last = jnp.concatenate([seen[-1], seen[0]], -1) if name == "tree" else seen[-1]
    logits = last @ params["output_projection.kernel"] + params["output_projection.bias"]
    np.testing.assert_allclose(logits, network.apply(params, x_t, T), atol=1e-5)


def test_leaves_of_a_node_share_its_features(x_t):
    network = NETWORKS["tree"]
    seen = activations(network, init_params(KEY, network), x_t, T)
    for layer, leaves in ((1, 2), (2, 4), (3, 2)):
        nodes = np.asarray(seen[layer]).reshape(len(T), -1, leaves, 8)
        assert (nodes == nodes[:, :, :1]).all()
        assert nodes.shape[1] == 1 or np.ptp(nodes, axis=1).max() > 1e-3


def test_attention_is_shared_out_and_even_where_queries_are_nothing(x_t):
    assert heights(4, 2).tolist() == [[0, 1, 2, 2], [1, 0, 2, 2], [2, 2, 0, 1], [2, 2, 1, 0]]
    network = NETWORKS["pre-norm"]
    params = init_params(KEY, network)
    found = attention_by_height(network, params, x_t, T, 2)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    none = {
        name: value * 0 if "query_key_value" in name else value for name, value in params.items()
    }
    even = attention_by_height(network, none, x_t, T, 2)
    np.testing.assert_allclose(even, [[0.25, 0.25, 0.5]] * 2, atol=1e-5)


def test_probes_find_what_is_linear_in_features_and_nothing_else():
    """One target is written into the features of its leaf; of another they know nothing."""
    keys = jax.random.split(KEY, 3)
    symbols = jax.random.randint(keys[0], (2, 600, LEAVES), 0, SYMBOLS)
    codes = jax.random.normal(keys[1], (LEAVES, SYMBOLS, 5))
    h = codes[jnp.arange(LEAVES), symbols[0]] + 0.05 * jax.random.normal(keys[2], (600, LEAVES, 5))
    h, symbols = np.asarray(h), np.asarray(symbols)
    found = probe_accuracies((h[:400], symbols[:, :400]), (h[400:], symbols[:, 400:]), SYMBOLS)
    assert found[0] > 0.99
    assert found[1] == pytest.approx(1 / SYMBOLS, abs=0.08)  # 4.8 standard errors


def test_ancestors_of_clear_leaves_are_known_exactly():
    sizes = {"vocab_size": f7b.SYMBOLS, "depth": f7b.DEPTH, "branching": 2}
    grammar = hm.Grammar.random_hierarchy(KEY, rules_per_symbol=2, **sizes)
    x_t, t, ancestors = f7b.noised_trees(KEY, grammar, 64)
    assert ancestors.shape == (f7b.DEPTH, 64, f7b.LEAVES)
    assert (ancestors[-1] == ancestors[-1][:, :1]).all()  # the root is above all
    assert (ancestors[0][:, ::2] == ancestors[0][:, 1::2]).all()
    leaves = hm.sample_leaves(jax.random.split(KEY, 3)[0], grammar, 64)
    known = f7b.exact_accuracies(grammar, leaves, jnp.ones_like(t), ancestors)
    np.testing.assert_array_equal(known, 1)
    hidden = f7b.exact_accuracies(grammar, jnp.full_like(x_t, f7b.SYMBOLS), t, ancestors)
    assert (hidden < 0.5).all()


def measurement(values, *dims):
    return Measurement(np.asarray(values, float), dims, "", "")


def test_layers_and_steps_are_those_where_gains_rise():
    """An ancestor h up is told from layer h on, and from step 10^h on."""
    steps, measured = np.geomspace(1, 1e4, 41), {}
    exact, chance = np.array([0.9, 0.8, 0.7]), layers.CHANCE
    height = np.arange(1, 4)
    for name in layers.LABELS:
        upto = np.clip(np.log10(steps)[:, None, None] - height + 0.575, 0.2, 0.95)
        gain = upto * (np.arange(5)[:, None] >= height)
        measured[f"{name}_step"] = measurement(steps, "checkpoint")
        measured[f"{name}_exact"] = measurement(np.tile(exact, (6, 1)), "r", "h")
        probes = chance + np.tile(gain, (6, 1, 1, 1)) * (exact - chance)
        measured[f"{name}_probes"] = measurement(probes, "r", "c", "layer", "h")
    even = np.array([0.125, 0.125, 0.25, 0.5])
    near = np.array([[0.2, 0.6, 0.1, 0.1], even, even, [0.1, 0.1, 0.1, 0.7]])
    measured["transformer_attention"] = measurement(
        np.tile(near, (6, len(steps), 1, 1)), "r", "c", "layer", "d"
    )
    np.testing.assert_allclose(layers.uniform(), even)
    np.testing.assert_allclose(layers.layers_before(2, "tree", measured), 2)
    np.testing.assert_allclose(layers.known_at(2, "tree", measured), np.log(100), atol=1e-6)
    family = all_families()["f7b"]
    assert {claim.verdict for claim in family.claims(measured)} == {"shown"}
    assert family.draw(measured).axes


def test_oracles_are_preferred_where_distances_fall():
    """The oracle k is preferred from layer and power of ten L − k on; then it is at 0."""
    steps, levels, measured = np.geomspace(1, 1e4, 41), np.arange(4), {}
    for name in oracles.LABELS:
        reached = np.log10(steps)[:, None] + 1e-9 >= 3 - levels
        measured[f"{name}_step"] = measurement(steps, "checkpoint")
        divergence = (
            1.0 - 0.5 * reached + 0.1 * (3 - levels) * ~reached - 0.01 * reached * (3 - levels)
        )
        measured[f"{name}_divergence"] = measurement(np.tile(divergence, (6, 1, 1)), "r", "c", "k")
        by_layer = np.arange(5)[:, None] >= 3 - levels
        distance = 1.0 + 0.1 * (3 - levels) * ~by_layer - 0.1 * (3 - levels) * by_layer
        measured[f"{name}_distance"] = measurement(
            np.tile(distance, (6, len(steps), 1, 1)), "r", "c", "layer", "k"
        )
    np.testing.assert_allclose(oracles.layers_before(1, "tree", measured), 2)
    found = oracles.preferred_at(1, "tree", measured)
    assert ((found > np.log(80)) & (found <= np.log(100) + 1e-6)).all()
    family = all_families()["f7c"]
    assert {claim.verdict for claim in family.claims(measured)} == {"shown"}
    assert family.draw(measured).axes


def test_blocks_are_judged_where_the_oracle_explains_most():
    """Pairs of any place fit best then, most for trees; of few sequences, fours before wholes."""
    steps, noise = np.geomspace(10, 4000, 5), np.linspace(0.1, 0.8, 3)
    measured = {}
    for name in blocks.LABELS:
        best = 0.95 if name == "tree" else 0.85
        own = np.zeros((6, 2, 5, 2, 3, 4))
        own[..., 1] = best - 0.03
        own[..., 2] = best - 0.6 + 0.5 * noise
        along = {0: (0.5, 0.6), 1: (0.4, 0.8), 2: (-0.1, 0.9)}
        along[3] = (-1, {"tree": 0.85, "transformer": 0.92, "mlp": 0.95}[name])
        for level, (first, last) in along.items():
            own[:, 0, :, 1, :, level] = np.linspace(first, last, 5)[:, None]
        own[:, 0, 4, 1, :, 1] = 0.69
        pooled = np.where(np.arange(4) == 1, best, 0) * np.ones_like(own)
        oracle = 0.5 * np.ones_like(own)
        oracle[:, :, 3, 0, :, 0] = 0.6
        own[:, :, [0, 1, 2, 4], 0] -= 5  # not looked at
        for kind, values in (("own", own), ("pooled", pooled), ("oracle", oracle)):
            measured[f"{name}_{kind}"] = measurement(values, "r", "n", "c", "set", "t", "k")
        measured[f"{name}_step"] = measurement(steps, "c")
        measured[f"{name}_noise"] = measurement(noise, "t")
    found = {each.name: each.values(measured) for each in blocks.FAMILY.predictions}
    np.testing.assert_allclose(found["share-tree"], 0.92)
    np.testing.assert_allclose(found["attention-less"], 0.1)
    np.testing.assert_allclose(found["equivariance-tree"], 0.03)
    np.testing.assert_allclose(found["noise-mlp"], 0.35)
    np.testing.assert_allclose(found["whole-mlp"], 0.05)
    np.testing.assert_allclose(found["mosaic-tree"], 0.05)
    np.testing.assert_allclose(found["order-mlp-transformer"], 0.03)
    np.testing.assert_allclose(found["order-transformer-tree"], 0.07)
    np.testing.assert_allclose(found["heart-tree"], -0.05 - (0.3875 - 0.7))
    assert {claim.verdict for claim in blocks.FAMILY.claims(measured)} == {"shown"}
    assert blocks.FAMILY.draw(measured).axes


def test_chunks_grow_until_they_are_the_exact_ones():
    """Covariance of siblings is half of the exact one at step 200, of cousins at step 800."""
    steps, masked = np.array([100.0, 200, 400, 800, 1600, 1e9]), np.linspace(0.2, 0.9, 8)
    exact = np.array([0.25, 0.08, 0.03, 0.01, 0.002]) * np.ones((6, 8, 1))
    share = np.ones((6, 5))
    share[:, 1:] = steps[:, None] / (steps[:, None] + [200, 800, 3200, 12800])
    learned = exact[:, None] * share[:, None]
    measured = {
        "step": measurement(steps, "c"),
        "masked": measurement(masked, "t"),
        "exact_covariance": measurement(exact, "r", "t", "h"),
        "network_covariance": measurement(learned, "r", "c", "t", "h"),
        "exact_susceptibility": measurement(chunks.f2b.susceptibility(exact), "r", "t"),
        "network_susceptibility": measurement(chunks.f2b.susceptibility(learned), "r", "c", "t"),
    }
    np.testing.assert_allclose(np.exp(chunks.reached_at(1, measured)), 200, rtol=1e-6)
    np.testing.assert_allclose(np.exp(chunks.reached_at(2, measured)), 800, rtol=1e-6)
    np.testing.assert_allclose(chunks.centre(masked, exact[..., 1]), masked.mean())
    family = all_families()["f2b"]
    assert {claim.verdict for claim in family.claims(measured)} == {"shown"}
    assert family.draw(measured).axes


def test_families_are_sorted_by_number():
    assert sorted(["f11", "f7b", "f9", "f7"], key=by_number) == ["f7", "f7b", "f9", "f11"]
    assert {"f7b", "f9"} <= set(all_families())


TINY = Regime(width=8, num_steps=4, batch_size=4, every=2, num_checkpoints=2)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "study"),
    [
        ("f9", f9.F9Study(2, (4, 8), 6, (10, 40), TINY)),
        ("f7b", f7b.F7bStudy(2, 16, 48, 32, TINY)),
        ("f7c", f7c.F7cStudy(2, 16, 48, 32, TINY)),
        ("f2b", f2b.F2bStudy(2, 16, 12, 2, TINY)),
    ],
)
def test_a_small_study_is_trained_judged_and_drawn(name, study, tmp_path):
    family = dataclasses.replace(all_families()[name], study=study)
    measured = family.measure(tmp_path, seed=1001)
    for claim in family.claims(measured):
        assert np.isfinite(claim.values).all(), claim.name
        assert len(claim.values) == 2
    assert family.draw(measured).axes
