"""The denoising loss, its evaluation at stratified steps, and its decomposition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import hiermodel as hm
from hiermodel.measures import decompose_loss, denoising_loss, evaluate_loss, kl_divergence
from hiermodel.measures.loss import stratified_steps

FALSE_ALARM = 1e-6
NUM = 1000  # sequences at a time: one number, as each is compiled


@pytest.fixture(scope="module")
def setting():
    """A small grammar: little to compile."""
    grammar = hm.Grammar.random(
        jax.random.key(7), vocab_size=3, depth=2, rules_per_symbol=2, sigma=1.0
    )
    schedule = hm.Schedule.linear()
    return grammar, schedule, hm.exact_denoiser(grammar, schedule)


def test_equals_the_reference_cross_entropy(reference):
    values = reference("transformer")
    log_probs = jax.nn.log_softmax(values["logits"], axis=-1)
    losses = denoising_loss(log_probs, values["x0"])
    np.testing.assert_allclose(losses, values["loss_per_token"].mean(-1), rtol=1e-12)
    np.testing.assert_allclose(losses.mean(), values["loss"], rtol=1e-12)


def test_is_infinite_where_the_truth_is_ruled_out():
    log_probs = jnp.array([[[0.0, -jnp.inf]], [[0.0, -jnp.inf]]])
    np.testing.assert_array_equal(denoising_loss(log_probs, np.array([[1], [0]])), [np.inf, 0.0])


@given(st.integers(0, 2**31), st.sampled_from([(7, 40), (200, 90), (500, 1200)]))
def test_every_run_of_steps_visits_each_step_once(seed, sizes):
    num_steps, num_samples = sizes
    steps = np.asarray(stratified_steps(jax.random.key(seed), num_steps, num_samples))
    assert steps.shape == (num_samples,)
    whole = num_samples - num_samples % num_steps
    runs = np.sort(steps[:whole].reshape(-1, num_steps), axis=1)
    np.testing.assert_array_equal(runs, np.broadcast_to(np.arange(1, num_steps + 1), runs.shape))
    assert len(set(steps[whole:])) == num_samples - whole
    assert ((steps >= 1) & (steps <= num_steps)).all()


@pytest.mark.parametrize("num_samples", [2, 5, 16, 50, 100, 333])
def test_few_steps_are_spread_evenly(num_samples):
    steps = np.asarray(stratified_steps(jax.random.key(3), 500, num_samples))
    # No stretch of steps is over- or under-represented by more than a few samples.
    counts = np.cumsum(np.bincount(steps, minlength=501))
    expected = np.arange(501) * num_samples / 500
    assert np.abs(counts - expected).max() <= 1 + 0.5 * np.log2(num_samples)


def test_more_samples_keep_the_first_steps_and_a_step_is_uniform():
    key = jax.random.key(4)
    np.testing.assert_array_equal(stratified_steps(key, 20, 95)[:50], stratified_steps(key, 20, 50))
    keys = jax.random.split(jax.random.key(5), 4000)
    draws = jax.vmap(lambda one: stratified_steps(one, 20, 7))(keys)
    for sample in range(7):
        counts = np.bincount(draws[:, sample], minlength=21)[1:]
        assert scipy.stats.chisquare(counts).pvalue > FALSE_ALARM / 7


def test_evaluation_noises_each_sequence_to_its_own_step(setting):
    grammar, schedule, exact = setting
    sequences = hm.sample_leaves(jax.random.key(0), grammar, NUM)
    t = stratified_steps(jax.random.key(1), 500, NUM)
    losses = evaluate_loss(jax.random.key(2), exact, schedule, sequences, t)
    assert losses.shape == (NUM,)
    # All noised to the step of one of them: only that one's loss is the same.
    at_one_step = evaluate_loss(jax.random.key(2), exact, schedule, sequences, t[40])
    np.testing.assert_array_equal(losses == at_one_step, t == t[40])
    # A sequence's loss does not depend on the others of its batch.
    mixed = jnp.concatenate([sequences[:10], jnp.flip(sequences[10:], 1)])
    others = evaluate_loss(jax.random.key(2), exact, schedule, mixed, t)
    np.testing.assert_array_equal(others[:10], losses[:10])


def test_loss_falls_from_symbol_entropy_to_zero_with_less_noise(setting):
    grammar, schedule, exact = setting
    sequences = hm.sample_leaves(jax.random.key(3), grammar, NUM)
    losses = [
        evaluate_loss(jax.random.key(4), exact, schedule, sequences, t).mean()
        for t in (1, 50, 150, 500)
    ]
    assert (np.diff(losses) > 0).all()
    assert losses[0] < 1e-6
    log_marginals = hm.run_bp(grammar, jnp.zeros((NUM, 4, 3))).log_marginals[-1][0]
    entropy = -(jnp.exp(log_marginals) * log_marginals).sum(-1).mean()
    np.testing.assert_allclose(losses[-1], entropy, atol=0.05)


def test_vocabulary_must_be_known(setting):
    _, schedule, _ = setting
    free = hm.independent_denoiser(schedule)
    sequences = np.zeros((2, 4), np.int32)
    with pytest.raises(ValueError, match="vocab_size=None"):
        evaluate_loss(jax.random.key(0), free, schedule, sequences, 3)
    losses = evaluate_loss(jax.random.key(0), free, schedule, sequences, 3, vocab_size=4)
    assert losses.shape == (2,)


def perturb(log_probs, key, spread=0.5):
    noise = spread * jax.random.normal(key, log_probs.shape[-2:])
    return jax.nn.log_softmax(log_probs + noise, axis=-1)


@pytest.fixture(scope="module")
def fresh(setting):
    """Fresh sequences and the exact denoiser's output for them at t = 150."""
    grammar, schedule, exact = setting
    sequences, outputs = [], []
    for block in range(10):
        sequences.append(hm.sample_leaves(jax.random.key(10 + block), grammar, NUM))
        x_0 = hm.one_hot(sequences[-1], 3)
        x_t = hm.add_noise(jax.random.key(50 + block), schedule, x_0, 150)
        outputs.append(exact(x_t, 150))
    return jnp.concatenate(sequences), jnp.concatenate(outputs)


def test_parts_add_up_and_distillation_is_entropy_plus_divergence(fresh):
    sequences, oracle = fresh
    model = perturb(oracle, jax.random.key(8))
    parts = decompose_loss(model, oracle, sequences)
    np.testing.assert_allclose(
        parts.distillation + parts.excess, denoising_loss(model, sequences), rtol=1e-12
    )
    entropy = -(jnp.exp(oracle) * jnp.where(jnp.isfinite(oracle), oracle, 0)).sum((-2, -1))
    expected = entropy + kl_divergence(oracle, model, clip=None)
    np.testing.assert_allclose(4 * parts.distillation, expected, rtol=1e-10)


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_excess_has_zero_mean_on_fresh_data(fresh, spread):
    """z-test at false-alarm rate FALSE_ALARM, for the exact and for a perturbed denoiser."""
    sequences, oracle = fresh
    model = perturb(oracle, jax.random.key(11), spread)
    excess = np.asarray(decompose_loss(model, oracle, sequences).excess)
    z = excess.mean() / (excess.std() / np.sqrt(len(excess)))
    assert abs(z) < scipy.stats.norm.isf(FALSE_ALARM / 2)


def test_excess_is_negative_for_a_memoriser_on_what_it_memorised(setting, fresh):
    _, schedule, exact = setting
    memorised = fresh[0][:4]
    sequences = jnp.tile(memorised, (NUM // 4, 1))
    x_t = hm.add_noise(jax.random.key(12), schedule, hm.one_hot(sequences, 3), 150)
    memory = hm.empirical_denoiser(schedule, memorised, 3)(x_t, 150)
    # A little of everything, so that nothing is ruled out.
    model = jnp.logaddexp(memory + np.log(0.99), np.log(0.01 / 3))
    excess = np.asarray(decompose_loss(model, exact(x_t, 150), sequences).excess)
    assert excess.mean() + 5 * excess.std() / np.sqrt(NUM) < 0


FAIR = np.log(np.full((1, 2), 0.5))
RULED_OUT = np.array([[0.0, -np.inf]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: denoising_loss(FAIR, np.array([2])), "symbol 2"),
        (lambda: denoising_loss(FAIR, np.array([0, 1])), r"sequences=\(2,\)"),
        (lambda: denoising_loss(FAIR, np.array([0.0])), "must hold integers"),
        (lambda: stratified_steps(jax.random.key(0), 0, 5), "num_steps=0"),
        (lambda: stratified_steps(jax.random.key(0), 5, 0), "num_samples=0"),
        (lambda: stratified_steps(0, 5, 5), "key=0"),
        (lambda: decompose_loss(RULED_OUT, FAIR, np.array([0])), "log_probs holds −inf"),
        (lambda: decompose_loss(RULED_OUT, RULED_OUT, np.array([1])), "log_probs holds −inf"),
        (lambda: decompose_loss(FAIR, np.zeros((1, 1)), np.array([1])), "oracle_log_probs has sh"),
    ],
)
def test_bad_input_is_refused(call, message, unchecked_types):
    with pytest.raises(ValueError, match=message):
        call()
