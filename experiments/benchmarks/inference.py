"""Rows on data, exact inference and sampling with the exact denoiser.

What decides the speed of the exact denoiser, as measured on a busy machine of 2 cores (AMD EPYC
with AVX-512, XLA's CPU compiler), in millions of rules × nodes per second of one core's time:

- A dense tensor of rules, by einsum: 160 (paper grammar, both cores). In log space, its
  exponentials being the cost: 20.
- Upward, with rows of symbols picked by traced indices, the m rules of all parents added up in one
  pass: 3600 to 7600 at every size from q = 6 to 256. Each rule written out with its children as
  constants, for the paper grammar alone: 2100 upward, 1350 both ways.
- Downward, gathered child by child: 1900 for q = 6; but the lists must be padded to the child with
  the most rules, and fall to 570 for q = 256. Scattered rule by rule: 1500 for q = 32 and 256
  while all terms stay in cache, 200 where they do not; 900 for q = 6. Products of the terms with a
  one-hot matrix in place of the scatter: 890 for q = 6, 320 and less for q = 32. For q = 256 and
  m = 16 they would need 8.4 MFLOP a node, at 200 GFLOP/s 24 thousand nodes a second; scattering
  does ten times as many.
- XLA's fusion: a sum over symbols by ``.sum(0)`` makes it repeat all that leads to the sum,
  gathers apart, at a tenth of the speed, so it is a product with a row of ones. A change of layout
  fused into the arithmetic makes all of it read and write with strides; a branch, or a choice of
  rows, keeps it apart.
- With the batch a power of two, the values of one sequence fall into the same few lines of the
  cache, and the change back took six times as long; padding by 16 sequences mends it.

On accelerators the same program runs, in one block; there it has not been measured.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

import hiermodel as hm
from experiments.benchmarks import public_code
from experiments.benchmarks.timing import (
    Row,
    copy_rate,
    in_own_process,
    matmul_rate,
    measure,
    median_of_processes,
)
from hiermodel.measures.neighbours import nearest_neighbours

BATCH = 2048
STEP = 75


def rows() -> Iterator[Row]:
    """All rows of this file, one after the other."""
    yield data_generation()
    for level in (0, 2):
        yield median_of_processes(functools.partial(denoising, level))
    yield log_probabilities()
    yield ancestral_sampling()
    yield from neighbours()


def data_generation() -> Row:
    """Trees of the paper grammar."""
    grammar, key = hm.paper_grammar(), jax.random.key(0)
    count = 100_000

    def generate() -> jax.Array:
        return hm.sample_leaves(key, grammar, count)

    return measure(
        "data generation", generate, count=count, unit="trees", reference=public_code.GENERATION
    )


def noisy_batch(grammar: hm.Grammar, schedule: hm.Schedule, size: int, t: int) -> jax.Array:
    """Noised sequences of a grammar."""
    clean = hm.sample_leaves(jax.random.key(1), grammar, size)
    x_0 = hm.one_hot(clean, grammar.vocab_size, jnp.float32)
    return hm.add_noise(jax.random.key(2), schedule, x_0, t)


def denoising(filter_level: int) -> Row:
    """The exact denoiser, or a filtered one."""
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(500)
    x_t = noisy_batch(grammar, schedule, BATCH, STEP)
    return measure(
        f"exact denoiser, k = {filter_level}, batch {BATCH}",
        jax.jit(lambda denoiser, x: denoiser(x, STEP)),
        hm.exact_denoiser(grammar, schedule, filter_level=filter_level),
        x_t,
        count=BATCH,
        unit="sequences",
        reference=public_code.DENOISER[filter_level],
        note="" if filter_level else limits(grammar),
    )


def limits(grammar: hm.Grammar) -> str:
    """What the machine's arithmetic and memory would allow an exact denoiser of few rules."""
    nodes = (grammar.num_leaves - 1) // (grammar.branching - 1)
    num_rules, s = grammar.vocab_size * grammar.max_rules, grammar.branching
    # A rule: up, a product of its weight and s messages, and a sum; down, a common factor, and for
    # each child the product with the s − 1 others, and a sum.
    operations = nodes * num_rules * (s + 1 + 1 + s * (s - 1) + s)
    values = 2 * grammar.num_leaves * grammar.vocab_size  # read and written; one exp or log each
    arithmetic = matmul_rate() * 1e9 / (operations + values)
    memory = copy_rate() * 1e9 / (4 * values)
    return (
        f"at the matmul's rate, its {operations} operations and {values} exponentials and "
        f"logarithms would allow {arithmetic / 1e6:.0f} M/s; reading and writing them, "
        f"{memory / 1e6:.0f} M/s"
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
        reference=public_code.LOG_PROBABILITIES,
    )


def ancestral_sampling() -> Row:
    """All 500 steps with the exact denoiser."""
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(500)
    denoiser, key = hm.exact_denoiser(grammar, schedule), jax.random.key(4)
    count = 256

    def sample() -> jax.Array:
        return hm.sample_ancestral(key, denoiser, schedule, count)

    name = f"ancestral sampling, 500 steps, batch {count}, exact denoiser"
    theirs = public_code.EXACT_SAMPLING
    return measure(name, sample, count=count, unit="sequences", repeats=5, reference=theirs)


def neighbours() -> Iterator[Row]:
    """Nearest training sequence by Hamming distance."""
    for sizes in ((2000, 12_000), (50_000, 70_000)):
        yield in_own_process(functools.partial(nearest, *sizes))


def nearest(num_queries: int, num_references: int) -> Row:
    """One row of neighbours."""
    grammar = hm.paper_grammar()
    queries = hm.sample_leaves(jax.random.key(5), grammar, num_queries)
    references = hm.sample_leaves(jax.random.key(6), grammar, num_references)
    # Theirs searched 12 000 sequences; its cost per query is taken as proportional.
    theirs = public_code.PAIRS_OF_NEIGHBOURS
    theirs = theirs._replace(rate=theirs.rate / num_references)
    return measure(
        f"nearest neighbour, {num_queries} in {num_references}",
        nearest_neighbours,
        queries,
        references,
        count=num_queries,
        unit="sequences",
        repeats=5,
        reference=theirs,
    )
