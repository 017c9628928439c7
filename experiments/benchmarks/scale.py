"""Rows on large grammars: cost per leaf, memory, and time to compile.

The random hierarchy model with q = 32 and m = 8 at growing depth, then q = 256 and 4096 with m =
16; a dense tensor would hold q³ = 16.8 million and 69 billion numbers. Every row runs in a process
of its own, whose peak memory, Python and JAX included, is given with it.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

import hiermodel as hm
from experiments.benchmarks.inference import noisy_batch
from experiments.benchmarks.public_code import LEAVES, Reference
from experiments.benchmarks.timing import Row, in_own_process, measure

BATCH = 64
STEP = 75
DEPTHS = (6, 9, 10)
MANY = 256
"""Trees of each sequence, where many U-turns start from it."""


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    for task in (denoising, posterior_sampling):
        for depth in DEPTHS:
            yield in_own_process(functools.partial(task, 32, 8, depth))
    yield in_own_process(functools.partial(posterior_sampling, 32, 8, 9, MANY))
    for vocab_size in (256, 4096):
        yield in_own_process(functools.partial(denoising, vocab_size, 16, 6))
        yield in_own_process(functools.partial(posterior_sampling, vocab_size, 16, 6))


def denoising(vocab_size: int, rules_per_symbol: int, depth: int) -> Row:
    """The exact denoiser."""
    grammar, schedule, x_t = _setting(vocab_size, rules_per_symbol, depth)
    denoiser = hm.exact_denoiser(grammar, schedule)
    apply = jax.jit(lambda denoiser, x: denoiser(x, STEP))
    theirs = LEAVES.get((vocab_size, depth))
    return _measure("exact denoiser", BATCH, theirs, grammar, apply, denoiser, x_t)


def posterior_sampling(
    vocab_size: int, rules_per_symbol: int, depth: int, num_trees: int = 1
) -> Row:
    """Posterior trees of each sequence; its messages are passed up once for all of them."""
    grammar, schedule, x_t = _setting(vocab_size, rules_per_symbol, depth)
    evidence = schedule.evidence(x_t, STEP)
    key = jax.random.key(3)
    draw = jax.jit(lambda grammar, evidence: hm.sample_posterior(key, grammar, evidence, num_trees))
    what = "posterior trees" if num_trees == 1 else f"{num_trees} posterior trees each"
    return _measure(what, num_trees * BATCH, None, grammar, draw, grammar, evidence)


def _setting(
    vocab_size: int, rules_per_symbol: int, depth: int
) -> tuple[hm.Grammar, hm.Schedule, jax.Array]:
    grammar = hm.Grammar.random_hierarchy(
        jax.random.key(0),
        vocab_size=vocab_size,
        depth=depth,
        branching=2,
        rules_per_symbol=rules_per_symbol,
    )
    schedule = hm.Schedule.linear(500)
    return grammar, schedule, jnp.asarray(noisy_batch(grammar, schedule, BATCH, STEP))


def _measure(
    what: str, trees: int, theirs: Reference | None, grammar: hm.Grammar, function, *arguments
) -> Row:
    name = (
        f"{what}, RHM q = {grammar.vocab_size}, m = {grammar.max_rules}, "
        f"depth {grammar.depth}, batch {BATCH}"
    )
    count = trees * grammar.num_leaves
    return measure(
        name, function, *arguments, count=count, unit="leaves", repeats=5, reference=theirs
    )
