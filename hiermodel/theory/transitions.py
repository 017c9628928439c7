"""When a noisy sequence decides its class, and when it decides which training sequence it is.

The two transitions of Biroli, Bonnaire, de Bortoli, Mézard, arXiv:2402.18491 (science.md#f6),
predicted from exact numbers of a grammar: *speciation* from covariances, *collapse* from entropies.
Both are
given as fractional steps t in 0…num_steps, interpolated between steps; going backwards in time,
speciation of level l happens at its step, and below the step of collapse an empirical denoiser can
only lead to one sequence.
"""

import functools
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, check_steps, require
from hiermodel.grammar.paths_on_host import HostPaths
from hiermodel.grammar.rules import Grammar
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.inference.belief_propagation import run_bp
from hiermodel.theory.correlations import path_grams
from hiermodel.theory.ensemble import check_sizes
from hiermodel.theory.evolution import LeafNoise, recovery_threshold

PIECE = 64
"""Sequences handled at a time."""


@runtime_checkable
class Process(Protocol):
    """What is needed of a ``Schedule`` or a ``DiscreteProcess``."""

    @property
    def num_steps(self) -> int:
        """T."""
        ...

    @property
    def num_states(self) -> int | None:
        """None for Gaussian noise, else how many symbols a noisy position may hold."""
        ...


def threshold_step(
    process: Process, *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> float | None:
    """The step up to which the root of a deep tree can be recovered; None where there is none.

    Where 1 − abar_t reaches :func:`~hiermodel.theory.recovery_threshold` of the process's kind:
    Gaussian, masked (erased leaves) or uniform (redrawn leaves). Assumptions as there.

    Args:
        process: a ``Schedule``, ``DiscreteProcess.masked`` or ``DiscreteProcess.uniform``.
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.

    Raises:
        ValueError: if a number is out of its range, or the process is of another kind.

    Example:
        >>> 0 < hm.theory.threshold_step(hm.Schedule.linear(100), **rhm) < 100
        True
    """
    found = check_sizes(vocab_size, rules_per_symbol, branching)
    kind = _kind(process, found.vocab_size)
    noise = recovery_threshold(corruption=kind, **found._asdict())
    return None if noise is None else _step_of_noise(process, noise)


def speciation_steps(grammar: Grammar, process: Process) -> Float[np.ndarray, " depth"]:
    """Per level 0…depth − 1, the step at which the symbol of one of its nodes is decided.

    The mean of the leaves below a node depends on its symbol a; let Λ be the largest eigenvalue of
    the covariance of this mean over a. The class is decided where the signal in this direction
    equals the noise, abar_t Λ = 1 − abar_t (arXiv:2402.18491, where Λ is the largest eigenvalue of
    the covariance of the data, made by the classes if these are far apart, and abar_t is small).

    Assumes that symbols of a node are told apart by means of single leaves, and many leaves. In the
    random hierarchy model with m > s neither holds: Λ falls as (s / m)^(levels), so the criterion
    has the class decided later the deeper the tree, while exact inference, which uses tuples, has a
    threshold that does not move: see ``threshold_step``.

    Exact covariances of any grammar. A level's answer is the mean over its nodes' marginals.

    Args:
        grammar: any grammar.
        process: a ``Schedule``.

    Returns:
        (depth,) fractional steps.

    Raises:
        ValueError: for a process that is not Gaussian.

    Example:
        >>> hm.theory.speciation_steps(grammar, schedule).shape
        (2,)
    """
    require(process.num_states is None, "process", process, "a Schedule of Gaussian noise")
    signal = class_signal(grammar)
    return np.array([_step_of_noise(process, top / (1 + top)) for top in signal])


def class_signal(grammar: Grammar) -> Float[np.ndarray, " depth"]:
    """Per level, Λ of :func:`speciation_steps`: variance of the leaves' mean between the classes.

    The nonzero eigenvalues of Σ_leaves Σ_a P(a) (M_a − M̄)(M_a − M̄)^T are those of the v × v matrix
    sqrt(P) (G − centred) sqrt(P), G = Σ_leaves M M^T; P is the mean law of the level's nodes.

    Example:
        >>> hm.theory.class_signal(grammar).shape
        (2,)
    """
    grams = path_grams(grammar)
    found = []
    for level, marginals in enumerate(HostPaths.of(grammar).marginals[: grammar.depth]):
        law = marginals.mean(0)
        centre = np.eye(len(law)) - law[None, :]
        gram = centre @ grams[level] @ centre.T
        scaled = np.sqrt(law)[:, None] * gram * np.sqrt(law)[None, :]
        found.append(float(np.linalg.eigvalsh(scaled)[-1]))
    return np.maximum(found, 0)


def information(
    key: Key[Array, ""], grammar: Grammar, process: Process, t: int, num_samples: int
) -> Float[np.ndarray, " num_samples"]:
    """Log p(x_t | x_0) / p(x_t) of sequences and their noisy versions; its mean is I(x_0; x_t).

    Exact for each sample and any grammar: the field of x_0's own symbols less the log-evidence. The
    mean, in nats, is what is still known of a sequence at step t: H(x_0) − H(x_0 | x_t). Noise is
    the same at every t, but for its strength, so the mean is smooth in t.

    Args:
        key: one typed key.
        grammar: any grammar.
        process: a ``Schedule`` or ``DiscreteProcess``.
        t: a step in 1…num_steps.
        num_samples: sequences, at least 1.

    Raises:
        ValueError: for a wrong key or a number out of range.

    Example:
        >>> hm.theory.information(key, grammar, schedule, 5, 16).shape
        (16,)
    """
    check_key(key)
    check_steps(t, process.num_steps)
    num_samples = check_integer("num_samples", num_samples, 1)
    return np.asarray(_information(key, grammar, process, jnp.asarray(t), num_samples))


def collapse_step(
    key: Key[Array, ""],
    grammar: Grammar,
    process: Process,
    num_sequences: int,
    *,
    num_samples: int = 256,
) -> float:
    """The step below which an empirical denoiser of n sequences knows which of them it is at.

    Where I(x_0; x_t) = ln n: from there on down, a training sequence's own Gaussian outweighs the
    n − 1 others, whose sum is about n p(x_t), the excess-entropy criterion of arXiv:2402.18491 with
    exact entropies in place of densities. Assumes independent sequences of the grammar and that
    log p(x_t | x_0) / p(x_t) varies little about its mean: the transition is as wide as this is.
    ``num_steps`` if even there more than ln n is known; 0 if never so much.

    Args:
        key: one typed key; the information is a mean over sequences and noise drawn by it.
        grammar: any grammar.
        process: a ``Schedule`` or ``DiscreteProcess``.
        num_sequences: n, at least 1.
        num_samples: sequences in the mean.

    Returns:
        A fractional step in 0…num_steps.

    Raises:
        ValueError: for a wrong key or a number out of range.

    Example:
        >>> bool(0 <= hm.theory.collapse_step(key, grammar, schedule, 8, num_samples=16) <= 20)
        True
    """
    num_sequences = check_integer("num_sequences", num_sequences, 1)
    goal = np.log(num_sequences)

    def known(t: int) -> float:
        return float(information(key, grammar, process, t, num_samples).mean())

    low, high = 0, process.num_steps
    at_low, at_high = np.inf, known(high)
    if at_high >= goal:
        return float(high)
    while high - low > 1:
        middle = (low + high) // 2
        value = known(middle)
        if value >= goal:
            low, at_low = middle, value
        else:
            high, at_high = middle, value
    if low == 0:
        return 0.0
    return low + (at_low - goal) / (at_low - at_high)


@functools.partial(jax.jit, static_argnames="num_samples")
def _information(
    key: Key[Array, ""], grammar: Grammar, process, t: Int[Array, ""], num_samples: int
) -> Float[Array, " num_samples"]:
    clean_key, noise_key = jax.random.split(key)
    x_0 = sample_leaves(clean_key, grammar, num_samples)
    clean = process.encode(x_0, grammar.vocab_size, process.alpha_bar.dtype)
    x_t = process.corrupt(noise_key, clean, t)
    field = process.evidence(x_t, t)
    own = jnp.take_along_axis(field, x_0[..., None], -1)[..., 0].sum(-1)
    size = min(PIECE, num_samples)
    rows = jnp.arange(num_samples + -num_samples % size) % num_samples
    pieces = field[rows].reshape(-1, size, *field.shape[1:])
    evidence = jax.lax.map(lambda piece: run_bp(grammar, piece).log_evidence, pieces)
    return own - evidence.reshape(-1)[:num_samples]


def _kind(process, vocab_size: int) -> LeafNoise:
    """Which corruption of the theory a process is."""
    if process.num_states is None:
        return "gaussian"
    require(process.vocab_size == vocab_size, "vocab_size", vocab_size, "that of the process")
    if process.mask is not None and float(process.noise_law[process.mask]) == 1:
        return "erased"
    uniform = process.mask is None and np.allclose(process.noise_law, 1 / vocab_size, atol=1e-6)
    require(uniform, "process", process, "Gaussian, masked or uniform")
    return "redrawn"


def _step_of_noise(process, noise: float) -> float:
    """The fractional step at which 1 − abar_t reaches ``noise``."""
    values = process.noise_variance if process.num_states is None else process.noise_prob
    return float(np.interp(noise, np.asarray(values, np.float64), np.arange(process.num_steps + 1)))
