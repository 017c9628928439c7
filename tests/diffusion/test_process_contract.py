"""What every process promises, asked of each of them.

Statistical tests fail a correct program once in 1e6 (oracles.FALSE_ALARM).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import (
    attack_losses,
    denoiser_divergence,
    evaluate_loss,
    loss_floor,
    reconstruct_ancestors,
    repeated_u_turns,
)
from hiermodel.random_bits import RowKey

KEY = jax.random.key(0)
LEAVES, VOCAB = 4, 3
BETAS = np.array([0.05, 0.3, 1e-3, 0.5, 1.0])  # at the last step nothing of x_0 is left
NUM_STEPS = len(BETAS)
PROCESSES = {
    "Gaussian": hm.Schedule.from_betas(BETAS),
    "masked": hm.DiscreteProcess.from_betas(BETAS, [0, 0, 0, 1], VOCAB),
    "uniform": hm.DiscreteProcess.from_betas(BETAS, [1 / 3, 1 / 3, 1 / 3], VOCAB),
    "a law of one's own": hm.DiscreteProcess.from_betas(BETAS, [0.3, 0, 0.1, 0.6], VOCAB),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OnesOwn:
    """A class of a user's own, which has what the protocol names and nothing else."""

    _hidden: hm.DiscreteProcess
    num_steps = property(lambda self: self._hidden.num_steps)
    vocab_size = property(lambda self: self._hidden.vocab_size)
    num_states = property(lambda self: self._hidden.num_states)


def forward(name):
    return lambda self, *given, **named: getattr(self._hidden, name)(*given, **named)


METHODS = "encode decode corrupt evidence log_likelihood reverse_step pure_noise network_input"
for method in METHODS.split():
    setattr(OnesOwn, method, forward(method))
PROCESSES["a class of one's own"] = OnesOwn(PROCESSES["uniform"])
GRAMMAR = hm.Grammar.random(jax.random.key(3), vocab_size=3, depth=2, rules_per_symbol=2)
CLEAN = np.random.default_rng(0).integers(VOCAB, size=(6, LEAVES))
PRIOR = np.array([0.2, 0.5, 0.3])
MANY = 20_000


def one_hot(symbols):
    return jax.nn.one_hot(jnp.asarray(symbols), VOCAB)


def is_calibrated(process, x_0, x_t, t, *seen):
    """Whether p(x_0 | x_t) by the evidence has no error that x_t, or what came before it, tells.

    The mean of (1[x_0 = a] − p(a | x_t)) f must be 0 for any function f of those.
    """
    posterior = scipy.special.softmax(np.asarray(process.evidence(x_t, t)) + np.log(PRIOR), -1)
    errors = np.eye(VOCAB)[np.asarray(x_0)] - posterior
    fine = True
    for weights in (np.ones_like(posterior), posterior, *seen):
        for shift in range(VOCAB):
            terms = (errors * np.roll(weights, shift, -1)).sum(1)  # over positions
            deviation = np.abs(terms.mean(0)) / np.maximum(terms.std(0) / np.sqrt(MANY), 1e-6)
            tests = VOCAB * VOCAB * (2 + len(seen))
            fine &= bool((deviation < scipy.stats.norm.isf(oracles.FALSE_ALARM / tests)).all())
    return fine


@functools.partial(jax.jit, static_argnames="joint")
def compiled_sampler(key, denoiser, process, x_T, joint):
    return hm.sample_ancestral(key, denoiser, process, x_T=x_T, start=4, joint=joint)


@pytest.fixture(scope="module")
def known():
    """Symbols of the prior, every position by itself."""
    return jax.random.choice(jax.random.key(1), VOCAB, (MANY, LEAVES), p=jnp.asarray(PRIOR))


@pytest.mark.parametrize("name", PROCESSES)
class TestEveryProcess:
    @pytest.fixture
    def process(self, name):
        return PROCESSES[name]

    @pytest.fixture
    def x_0(self, process):
        return process.encode(CLEAN, VOCAB)

    def test_follows_the_protocol(self, process, x_0):
        assert isinstance(process, hm.Process)
        assert process.num_steps == NUM_STEPS
        assert process.vocab_size in (None, VOCAB)
        np.testing.assert_array_equal(process.decode(x_0), CLEAN)

    @pytest.mark.parametrize("t", [1, 4, NUM_STEPS])
    def test_the_evidence_of_corrupted_data_is_their_posterior(self, process, known, t):
        x_t = process.corrupt(KEY, process.encode(known, VOCAB), t)
        assert is_calibrated(process, known, x_t, t)

    @pytest.mark.parametrize("t", [2, 4, NUM_STEPS])
    def test_a_reverse_step_with_x_0_known_is_a_step_of_the_chain(self, process, known, t):
        """Given x_{t−1}, x_t says nothing more of x_0."""
        x_t = process.corrupt(KEY, process.encode(known, VOCAB), t)
        before = process.reverse_step(jax.random.key(2), x_t, one_hot(known), t)
        assert (before.shape, before.dtype) == (x_t.shape, x_t.dtype)
        later = scipy.special.softmax(np.asarray(process.evidence(x_t, t)), -1)
        assert is_calibrated(process, known, before, t - 1, later)

    def test_a_reverse_step_by_probabilities_is_one_with_x_0_drawn(self, process, known):
        """Of Gaussian noise only in the mean: there it is the step by the expectation."""
        t, probs = 4, jnp.broadcast_to(jnp.asarray(PRIOR), (MANY, LEAVES, VOCAB))
        x_t = process.corrupt(KEY, process.encode(CLEAN[:1], VOCAB), t)
        x_t = jnp.repeat(x_t, MANY, 0)
        by_probs = process.reverse_step(jax.random.key(5), x_t, probs, t)
        by_draws = process.reverse_step(jax.random.key(6), x_t, one_hot(known), t)
        shown = [np.asarray(process.network_input(x)) for x in (by_probs, by_draws)]
        difference = shown[0].mean(0) - shown[1].mean(0)
        error = np.sqrt((shown[0].var(0) + shown[1].var(0)) / MANY)
        limit = scipy.stats.norm.isf(oracles.FALSE_ALARM / difference.size)
        assert np.all(np.abs(difference) <= limit * error)

    def test_nothing_is_left_at_the_last_step(self, process, known):
        x_T = process.corrupt(KEY, process.encode(known[:100], VOCAB), NUM_STEPS)
        assert np.ptp(process.evidence(x_T, NUM_STEPS), -1).max() == 0
        noise = process.pure_noise(KEY, 100, LEAVES, VOCAB)
        assert (noise.shape, noise.dtype) == (x_T.shape, x_T.dtype)
        assert np.ptp(process.evidence(noise, NUM_STEPS), -1).max() == 0

    def test_the_last_step_back_gives_the_clean_data(self, process, x_0):
        x_1 = process.corrupt(KEY, x_0, 1)
        back = process.reverse_step(KEY, x_1, one_hot(CLEAN), 1)
        np.testing.assert_array_equal(process.decode(back), CLEAN)

    def test_the_likelihood_is_the_evidence_up_to_a_constant_per_position(self, process, x_0):
        x_t, t = process.corrupt(KEY, x_0, 3), 3
        evidence = process.evidence(x_t, t)
        likelihood, constant = process.log_likelihood(x_t, t)
        assert (evidence.shape, constant.shape) == ((6, LEAVES, VOCAB), (6,))
        relative = [jax.nn.log_softmax(field) for field in (evidence, likelihood)]
        np.testing.assert_allclose(*relative, rtol=1e-5)

    def test_rows_have_noise_of_their_own_that_more_rows_leave_alone(self, process, x_0):
        t = np.array([1, 2, 3, 4, 5, 4])
        x_t = process.corrupt(KEY, x_0, t)
        back = process.reverse_step(KEY, x_t, one_hot(CLEAN), t)
        noise = process.pure_noise(KEY, 6, LEAVES, VOCAB)
        np.testing.assert_array_equal(process.corrupt(KEY, x_0[:2], t[:2]), x_t[:2])
        few = process.reverse_step(KEY, x_t[:2], one_hot(CLEAN[:2]), t[:2])
        np.testing.assert_allclose(few, back[:2], rtol=1e-5)
        np.testing.assert_array_equal(process.pure_noise(KEY, 2, LEAVES, VOCAB), noise[:2])
        nested = process.corrupt(KEY, x_0.reshape(2, 3, *x_0.shape[1:]), t.reshape(2, 3))
        np.testing.assert_array_equal(nested.reshape(x_t.shape), x_t)
        back_nested = process.reverse_step(
            KEY, nested, one_hot(CLEAN).reshape(2, 3, LEAVES, VOCAB), t.reshape(2, 3)
        )
        np.testing.assert_allclose(back_nested.reshape(back.shape), back, rtol=1e-5)
        copies = process.corrupt(KEY, process.encode(np.ones(50, int), VOCAB), np.full((6, 1), 4))
        assert len(np.unique(np.asarray(copies).reshape(6, -1), axis=0)) == 6
        assert process.corrupt(KEY, x_0[:0], 2).shape == (0, *x_0.shape[1:])

    def test_a_batch_is_corrupted_the_same_in_pieces(self, process, x_0):
        """By row numbers, as training does, within a compiled step."""
        rows, t = jnp.arange(6, dtype=jnp.uint32), jnp.array([1, 2, 3, 4, 5, 4])
        draw = jax.jit(lambda rows, x_0, t: process.corrupt(RowKey(KEY, rows), x_0, t))
        whole = draw(rows, x_0, t)
        parts = [draw(rows[part], x_0[part], t[part]) for part in (slice(2), slice(2, 6))]
        np.testing.assert_array_equal(jnp.concatenate(parts), whole)
        alone = jax.vmap(lambda row, x_0, t: draw(row[None], x_0[None], t[None])[0])
        np.testing.assert_array_equal(alone(rows, x_0, t), whole)
        with pytest.raises(ValueError, match=r"a RowKey of \(6,\) rows.*\(2,\) rows"):
            process.corrupt(RowKey(KEY, rows), x_0[:2], 2)

    def test_rows_by_number_follow_the_same_law(self, process, known):
        rows = RowKey(KEY, jnp.arange(MANY, dtype=jnp.uint32))
        x_t = process.corrupt(rows, process.encode(known, VOCAB), 2)
        assert is_calibrated(process, known, x_t, 2)

    def test_methods_run_compiled_and_mapped(self, process, x_0):
        t = jnp.array([1, 2, 3, 4, 5, 4])
        keys = jax.random.split(KEY, 6)

        def there_and_back(key, process, x_0, x_0_hat, t):
            x_t = process.corrupt(key, x_0, t)
            return process.reverse_step(key, x_t, x_0_hat, t), process.evidence(x_t, t)

        inputs = (process, x_0, one_hot(CLEAN), t)
        called = there_and_back(KEY, *inputs)
        for one, other in zip(called, jax.jit(there_and_back)(KEY, *inputs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        mapped = jax.vmap(there_and_back, in_axes=(0, None, 0, 0, 0))(keys, *inputs)
        alone = there_and_back(keys[3], process, x_0[3], one_hot(CLEAN[3]), t[3])
        for one, other in zip(mapped, alone, strict=True):
            np.testing.assert_allclose(one[3], other, rtol=1e-4, atol=1e-4)

    def test_nan_spoils_its_row_for_good(self, process, x_0):
        x_t = process.corrupt(KEY, x_0, 4)
        x_0_hat = one_hot(CLEAN).at[1, 2, 0].set(jnp.nan)
        for t in (4, 3, 2, 1):
            x_t = process.reverse_step(jax.random.key(t), x_t, x_0_hat, t)
            x_0_hat = one_hot(CLEAN)
        expected = np.where(np.arange(6)[:, None] == 1, -1, CLEAN)
        np.testing.assert_array_equal(process.decode(x_t), expected)

    def test_a_network_is_shown_a_real_vector_per_position(self, process, x_0):
        x_t = process.corrupt(KEY, x_0, 4)
        shown = process.network_input(x_t, jnp.float32)
        states = VOCAB if process.num_states is None else process.num_states
        assert (shown.shape, shown.dtype) == ((6, LEAVES, states), jnp.float32)
        assert np.isfinite(shown).all()

    def test_bad_input_is_refused_by_name(self, process, x_0):
        for t in (0, NUM_STEPS + 1, np.array([1, 9, 1, 1, 1, 1])):
            for call in (
                lambda t=t: process.corrupt(KEY, x_0, t),
                lambda t=t: process.evidence(x_0, t),
                lambda t=t: process.log_likelihood(x_0, t),
            ):
                with pytest.raises(ValueError, match=r"t=.* is not allowed"):
                    call()
        with pytest.raises(ValueError, match="symbol 3"):
            process.encode(np.array([0, 3]), VOCAB)

    # What is built on it.

    @pytest.mark.parametrize("joint", [False, True])
    def test_samples_and_u_turns_hang_on_their_own_key_and_start(self, process, joint):
        denoiser = hm.empirical_denoiser(process, CLEAN, VOCAB)
        many = hm.sample_ancestral(KEY, denoiser, process, 30, joint=joint)
        assert (many.shape, many.dtype) == ((30, LEAVES), jnp.int32)
        few = hm.sample_ancestral(KEY, denoiser, process, 4, joint=joint)
        np.testing.assert_array_equal(few, many[:4])
        other = hm.sample_ancestral(jax.random.key(1), denoiser, process, 30, joint=joint)
        assert not np.array_equal(other, many)
        if joint:
            assert set(map(tuple, many.tolist())) <= set(map(tuple, CLEAN.tolist()))
        turned = hm.u_turn(KEY, denoiser, process, CLEAN, 2, joint=joint)
        np.testing.assert_array_equal(
            hm.u_turn(KEY, denoiser, process, CLEAN[:2], 2, joint=joint), turned[:2]
        )

    @pytest.mark.parametrize("joint", [False, True])
    def test_samplers_run_compiled_mapped_and_with_any_leading_axes(self, process, joint):
        denoiser = hm.empirical_denoiser(process, CLEAN, VOCAB)
        x_T = process.corrupt(KEY, process.encode(CLEAN, VOCAB), 4)

        def draw(key, x_T):
            return compiled_sampler(key, denoiser, process, x_T, joint)

        whole = hm.sample_ancestral(KEY, denoiser, process, x_T=x_T, start=4, joint=joint)
        nested = draw(KEY, x_T.reshape(2, 3, *x_T.shape[1:]))
        np.testing.assert_array_equal(nested.reshape(6, LEAVES), whole)
        np.testing.assert_array_equal(draw(KEY, x_T[0]), whole[0])
        assert draw(KEY, x_T[:0]).shape == (0, LEAVES)
        mapped = jax.vmap(draw, in_axes=(0, None))(jnp.stack([jax.random.key(9), KEY]), x_T)
        np.testing.assert_array_equal(mapped[1], whole)

    def test_joint_samples_follow_the_law_of_the_data_in_few_steps(self, process):
        denoiser = hm.exact_denoiser(GRAMMAR, process)
        samples = hm.sample_ancestral(KEY, denoiser, process, 4000, joint=True)
        tensor = np.asarray(GRAMMAR.to_tensor(), float)
        law = oracles.leaf_law(oracles.list_trees([tensor] * 2, np.full(3, 1 / 3)))
        assert oracles.agrees_with_law(oracles.encode(samples, 3), law)

    def test_losses_floors_and_divergences_are_of_one_kind(self, process):
        """The exact denoiser's loss is the floor; a poorer one's lies its divergence above."""
        steps, num = np.array([1, 2, 4, NUM_STEPS]), 2000
        exact = hm.exact_denoiser(GRAMMAR, process)
        prior = hm.run_bp(GRAMMAR, np.zeros((LEAVES, VOCAB))).log_marginals[-1]
        blind = hm.independent_denoiser(process, prior)
        floor = loss_floor(KEY, GRAMMAR, process, steps, num, level=1 - 1e-6)
        assert np.all(np.diff(np.asarray(floor.estimate)) > -1e-6)
        entropy = -(np.exp(prior) * np.asarray(prior)).sum(-1).mean()
        assert floor.low[-1] < entropy < floor.high[-1]
        clean = hm.sample_leaves(jax.random.key(7), GRAMMAR, num)
        for t, low, high in zip(steps[1:3], floor.low[1:3], floor.high[1:3], strict=True):
            of_exact, of_blind = (
                evaluate_loss(KEY, d, process, clean, int(t)) for d in (exact, blind)
            )
            error = np.std(of_exact) / np.sqrt(num)
            assert low - 5 * error < of_exact.mean() < high + 5 * error
            x_t = hm.add_noise(KEY, process, process.encode(clean, VOCAB), int(t))
            extra = denoiser_divergence(exact, blind, x_t, int(t)) / LEAVES
            excess = np.asarray(of_blind - of_exact - extra)
            assert abs(excess.mean()) < 5 * excess.std() / np.sqrt(num)
            assert extra.mean() > 0.001

    def test_reconstruction_attacks_and_repeated_u_turns_take_any_noise(self, process):
        found = reconstruct_ancestors(KEY, GRAMMAR, process, np.array([1, NUM_STEPS]), 50)
        np.testing.assert_allclose(
            found.expected_success[:, 1].mean(0), found.chance_success, atol=1e-5
        )
        assert np.all(found.success[:, 0].mean(0) > found.chance_success)
        memoriser = hm.empirical_denoiser(process, CLEAN, VOCAB)
        other = (CLEAN + 1) % VOCAB
        losses = attack_losses(
            KEY, memoriser, process, np.concatenate([CLEAN, other]), np.full(8, 3)
        )
        assert losses[:6].mean() < losses[6:].mean()
        chain = repeated_u_turns(KEY, memoriser, process, CLEAN, 1, 2)
        assert (chain.shape, chain.dtype) == ((3, 6, LEAVES), CLEAN.dtype)


@given(data=st.data())
def test_any_law_of_noise_is_a_chain_of_matrices_and_bayes_rule(data):
    """Any betas and any law: products of one-step matrices forward, Bayes' rule back."""
    numbers = st.floats(0, 1)
    mask = data.draw(st.booleans())
    weights = np.array(data.draw(st.lists(numbers, min_size=VOCAB + mask, max_size=VOCAB + mask)))
    weights[data.draw(st.integers(0, len(weights) - 1))] += 0.1
    law = weights / weights.sum()
    betas = np.array(data.draw(st.lists(st.floats(1e-6, 1), min_size=4, max_size=4)))
    process = hm.DiscreteProcess.from_betas(betas, law, VOCAB)
    one_step = [(1 - beta) * np.eye(len(law)) + beta * law for beta in betas]
    products = [np.eye(len(law))]
    for matrix in one_step:
        products.append(products[-1] @ matrix)
    tolerance = 1e-12 if process.alpha_bar.dtype == np.float64 else 1e-5
    x_t, x_0 = (grid.ravel() for grid in np.indices((len(law), VOCAB)))
    for t in range(1, 5):
        forward = np.exp(process.log_forward(np.arange(VOCAB), t))
        np.testing.assert_allclose(forward, products[t][:VOCAB], atol=tolerance)
        field, constant = process.log_likelihood(np.arange(len(law))[:, None], t)
        likelihood = np.exp(np.asarray(field)[:, 0] + np.asarray(constant)[:, None])
        known = likelihood.max(1) > 0
        np.testing.assert_allclose(likelihood[known], products[t][:VOCAB].T[known], atol=tolerance)
        back = np.exp(process.log_posterior(x_t, x_0, t))
        joint = products[t - 1][x_0] * one_step[t - 1][:, x_t].T
        possible = products[t][x_0, x_t] > 1e-9
        expected = joint[possible] / products[t][x_0, x_t][possible, None]
        np.testing.assert_allclose(back[possible], expected, atol=1e-6 + 1e3 * tolerance)
