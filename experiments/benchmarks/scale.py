"""Rows on grammars too large to write out: cost per leaf, memory, and time to compile.

The random hierarchy model with q = 32 and m = 8 at growing depth, then one with q = 256 and m = 16,
whose rules as a dense tensor would hold q³ = 16.8 million numbers. Every row runs in a process of
its own, whose peak memory, Python and JAX included, is given with it.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

import hiermodel as hm
from experiments.benchmarks.inference import noisy_batch
from experiments.benchmarks.timing import Row, in_own_process, measure

BATCH = 64
STEP = 75
DEPTHS = (6, 9, 10)


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    for task in (denoising, posterior_sampling):
        for depth in DEPTHS:
            yield in_own_process(functools.partial(task, 32, 8, depth))
    yield in_own_process(functools.partial(denoising, 256, 16, 6))


def denoising(vocab_size: int, rules_per_symbol: int, depth: int) -> Row:
    """The exact denoiser."""
    grammar, schedule, x_t = _setting(vocab_size, rules_per_symbol, depth)
    denoiser = hm.exact_denoiser(grammar, schedule)
    apply = jax.jit(lambda denoiser, x: denoiser(x, STEP))
    return _measure("exact denoiser", grammar, apply, denoiser, x_t)


def posterior_sampling(vocab_size: int, rules_per_symbol: int, depth: int) -> Row:
    """One posterior tree for each sequence."""
    grammar, schedule, x_t = _setting(vocab_size, rules_per_symbol, depth)
    evidence = schedule.evidence(x_t, STEP)
    key = jax.random.key(3)
    draw = jax.jit(lambda grammar, evidence: hm.sample_posterior(key, grammar, evidence, 1))
    return _measure("posterior trees", grammar, draw, grammar, evidence)


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


def _measure(what: str, grammar: hm.Grammar, function, *arguments) -> Row:
    name = (
        f"{what}, RHM q = {grammar.vocab_size}, m = {grammar.rules.children.shape[2]}, "
        f"depth {grammar.depth}, batch {BATCH}"
    )
    count = BATCH * grammar.num_leaves
    return measure(name, function, *arguments, count=count, unit="leaves", repeats=5)
