"""Rows on data, exact inference and sampling with the exact denoiser.

Reference rates are those of the paper's public implementation on 2 cores.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp

import hiermodel as hm
from experiments.benchmarks.timing import Row, measure
from hiermodel.measures.neighbours import nearest_neighbours

BATCH = 2048
STEP = 75


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    yield data_generation()
    yield from denoising()
    yield log_probabilities()
    yield ancestral_sampling()
    yield from neighbours()


def data_generation() -> Row:
    """Trees of the paper grammar."""
    grammar, key = hm.paper_grammar(), jax.random.key(0)
    count = 100_000

    def generate() -> jax.Array:
        return hm.sample_leaves(key, grammar, count)

    return measure("data generation", generate, count=count, unit="trees", reference=1650)


def noisy_batch(grammar: hm.Grammar, schedule: hm.Schedule, size: int, t: int) -> jax.Array:
    """Noised sequences of a grammar."""
    clean = hm.sample_leaves(jax.random.key(1), grammar, size)
    x_0 = hm.one_hot(clean, grammar.vocab_size, jnp.float32)
    return hm.add_noise(jax.random.key(2), schedule, x_0, t)


def denoising() -> Iterator[Row]:
    """The exact denoiser and a filtered one."""
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(500)
    x_t = noisy_batch(grammar, schedule, BATCH, STEP)
    apply = jax.jit(lambda denoiser, x: denoiser(x, STEP))
    for level, reference in ((0, 20_600), (2, 24_900)):
        denoiser = hm.exact_denoiser(grammar, schedule, filter_level=level)
        name = f"exact denoiser, k = {level}, batch {BATCH}"
        yield measure(
            name, apply, denoiser, x_t, count=BATCH, unit="sequences", reference=reference
        )


def log_probabilities() -> Row:
    """Log-probabilities of clean sequences."""
    grammar = hm.paper_grammar()
    leaves = hm.sample_leaves(jax.random.key(3), grammar, BATCH)
    return measure(
        f"log-probabilities, batch {BATCH}",
        jax.jit(hm.log_prob),
        grammar,
        leaves,
        count=BATCH,
        unit="sequences",
        reference=18_500,
    )


def ancestral_sampling() -> Row:
    """All 500 steps with the exact denoiser."""
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(500)
    denoiser, key = hm.exact_denoiser(grammar, schedule), jax.random.key(4)
    count = 256

    def sample() -> jax.Array:
        return hm.sample_ancestral(key, denoiser, schedule, count)

    name = f"ancestral sampling, 500 steps, batch {count}, exact denoiser"
    return measure(name, sample, count=count, unit="sequences", repeats=5, reference=32.7)


def neighbours() -> Iterator[Row]:
    """Nearest training sequence by Hamming distance."""
    grammar = hm.paper_grammar()
    for num_queries, num_references, repeats in ((2000, 12_000, 7), (50_000, 70_000, 5)):
        queries = hm.sample_leaves(jax.random.key(5), grammar, num_queries)
        references = hm.sample_leaves(jax.random.key(6), grammar, num_references)
        # The reference searched 12 000 sequences; its cost per query is taken as proportional.
        reference = 2400 * 12_000 / num_references
        yield measure(
            f"nearest neighbour, {num_queries} in {num_references}",
            nearest_neighbours,
            queries,
            references,
            count=num_queries,
            unit="sequences",
            repeats=repeats,
            reference=reference,
        )
