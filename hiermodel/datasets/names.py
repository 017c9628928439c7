"""From a name to the rules it stands for, in integers.

A name is "paper" or "rhm-v{V}-m{M}-s{S}-L{L}", the random hierarchy model with V symbols, M rules
per symbol, S children and depth L; "-g{N}" after it asks for realisation N of the rules, 0 being
that of the plain name.
"""

import functools
import hashlib
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt

from hiermodel.checks import InputError
from hiermodel.grammar.rules import Grammar, legacy_tensor, paper_grammar
from hiermodel.random_bits import RowKey, random_words

FORMAT = "rhm-v{V}-m{M}-s{S}-L{L}"
MAX_TUPLES = 1 << 24
MAX_LEAVES = 1 << 16
MAX_SYMBOLS = 1 << 15
MAX_RULES = 1 << 16
_PATTERN = re.compile(r"(paper|rhm-v(\d+)-m(\d+)-s(\d+)-L(\d+))(?:-g(\d+))?")


class Definition(NamedTuple):
    """What a name stands for. Roots are uniform, and no tuple has two parents at a level.

    Attributes:
        name: the name in its one spelling.
        grammar: the law, for inference.
        thresholds: (levels, vocab_size, rules − 1) of 32-bit words: rule r is taken by the words
            from threshold r − 1 on to below threshold r. None: all rules equally likely.
    """

    name: str
    grammar: Grammar
    thresholds: UInt[np.ndarray, "levels vocab steps"] | None

    @property
    def children(self) -> Int[np.ndarray, "levels vocab rules branching"]:
        """What each rule produces."""
        return self.grammar.rules.children

    @property
    def dtype(self) -> np.dtype:
        """The smallest signed integers that hold every symbol."""
        return np.min_scalar_type(-self.grammar.vocab_size)


@functools.lru_cache(maxsize=16)
def define(name: str) -> Definition:
    """Look up, or make, what a name stands for.

    Raises:
        ValueError: if the name is not of a known form, or its numbers are out of range.
    """
    match = _PATTERN.fullmatch(name)
    if match is None:
        raise InputError(
            f"name={name!r} is not allowed: name must be 'paper' or '{FORMAT}', "
            "and may end in '-g{N}' for other rules"
        )
    realisation = int(match[6] or 0)
    suffix = f"-g{realisation}" if realisation else ""
    if match[1] == "paper":
        return _define_paper(f"paper{suffix}", realisation)
    vocab_size, num_rules, branching, depth = map(int, match.groups()[1:5])
    _check_sizes(name, vocab_size, num_rules, branching, depth)
    full_name = f"rhm-v{vocab_size}-m{num_rules}-s{branching}-L{depth}{suffix}"
    children = _deal(full_name, vocab_size, num_rules, branching, depth)
    return Definition(full_name, Grammar.from_rules(children, depth=depth), None)


def key_of(*parts: object) -> Key[Array, ""]:
    """A key that is a hash of words and numbers, the same in every version of JAX."""
    text = "|".join(["hiermodel.datasets 1", *map(str, parts)])
    words = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], ">u4").astype(np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")


def _define_paper(name: str, realisation: int) -> Definition:
    """The paper's grammar of a seed; its weights are rounded to multiples of 2^−32 for drawing."""
    grammar = paper_grammar(realisation)
    parents = np.arange(grammar.vocab_size)[:, None]
    children = grammar.rules.children[0]
    # From the float64 tensor, because the grammar's own weights have the precision JAX is set to.
    tensor = legacy_tensor(realisation, 6, 4, 1.0)
    weights = tensor[parents, children[..., 0], children[..., 1]]
    thresholds = np.rint(np.cumsum(weights, -1)[:, :-1] * 2.0**32).astype(np.uint32)
    return Definition(name, grammar, thresholds[None])


def _deal(
    name: str, vocab_size: int, num_rules: int, branching: int, depth: int
) -> Int[np.ndarray, "levels vocab rules branching"]:
    """Rules dealt out anew at each level: the tuples in the order of a random number each."""
    num_tuples = vocab_size**branching
    levels = []
    for level in range(depth):
        rows = jnp.array([level], jnp.uint32)
        words = random_words(RowKey(key_of(name, "rules"), rows), 2 * num_tuples)
        high, low = np.asarray(words, np.uint64).reshape(2, num_tuples)
        order = np.argsort((high << np.uint64(32)) | low, kind="stable")
        codes = order[: vocab_size * num_rules].reshape(vocab_size, num_rules)
        levels.append(np.stack(np.unravel_index(codes, (vocab_size,) * branching), -1))
    return np.stack(levels)


def _check_sizes(name: str, vocab_size: int, num_rules: int, branching: int, depth: int) -> None:
    def refuse(letter: str, value: int, allowed: str) -> None:
        raise InputError(f"name={name!r} is not allowed: its {letter}={value} must be {allowed}")

    if not 2 <= vocab_size <= MAX_SYMBOLS:
        refuse("v", vocab_size, f"in 2…{MAX_SYMBOLS}")
    most_children = 1
    while vocab_size ** (most_children + 1) <= MAX_TUPLES:
        most_children += 1
    if not 2 <= branching <= most_children:
        refuse("s", branching, f"at least 2, and v**s at most {MAX_TUPLES}")
    most_rules = min(vocab_size ** (branching - 1), MAX_RULES)
    if not 1 <= num_rules <= most_rules:
        refuse("m", num_rules, f"in 1…{most_rules}, at most v**(s − 1)")
    if not 1 <= depth <= MAX_LEAVES.bit_length() or branching**depth > MAX_LEAVES:
        refuse("L", depth, f"at least 1, and s**L at most {MAX_LEAVES}")
