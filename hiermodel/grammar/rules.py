"""The grammar: which tuples of children a symbol can produce, and how often."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from hiermodel.checks import InputError, check_integer, check_key, require
from hiermodel.grammar.dealing import deal_rules, deal_tuples, rule_counts, tuples_from_codes
from hiermodel.grammar.rule_checks import check_children, check_probabilities, check_rules
from hiermodel.grammar.rule_table import RuleTable


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, repr=False)
class Grammar:
    """A probabilistic tree grammar as a pytree of rule lists (science.md#data).

    Weights and rules are array leaves: ``jit`` compiles once for all grammars of a shape, ``vmap``
    runs over a stack of them, and ``grad`` gives gradients of the weights. ``levels`` is 1 if all
    levels share their rules, else ``depth``; level l holds the rules from nodes of level l to nodes
    of level l + 1, the root being level 0.

    Attributes:
        log_weights: (levels, vocab_size, max_rules) natural-log probability of each rule given its
            parent; −inf where there is no rule.
        root_log_probs: (vocab_size,) log-prior of the root symbol.
        rules: the children of every rule.
        depth: number of levels below the root, L.

    Example:
        >>> hm.Grammar.from_rules(children, probs, depth=2).num_leaves
        4
        >>> drawn = hm.Grammar.random_hierarchy(
        ...     key, vocab_size=4, depth=3, branching=2, rules_per_symbol=2
        ... )
        >>> drawn.num_leaves
        8
    """

    log_weights: Float[Array, "levels vocab max_rules"]
    root_log_probs: Float[Array, " vocab"]
    rules: RuleTable
    depth: int

    @property
    def vocab_size(self) -> int:
        """Number of symbols, q."""
        return self.rules.shape[-3]

    @property
    def branching(self) -> int:
        """Number of children of a node, s."""
        return self.rules.shape[-1]

    @property
    def max_rules(self) -> int:
        """The most rules that a symbol has, m where all have as many."""
        return self.rules.shape[-2]

    @property
    def num_leaves(self) -> int:
        """Length of a sequence, branching ** depth."""
        return self.branching**self.depth

    @property
    def shared(self) -> bool:
        """True if every level uses the same rules."""
        return self.rules.shape[-4] == 1

    def tree_flatten(self) -> tuple[tuple[Any, ...], int]:
        """Weights and rules are leaves; the depth belongs to the structure."""
        return (self.log_weights, self.root_log_probs, self.rules), self.depth

    @classmethod
    def tree_unflatten(cls, depth: int, leaves: tuple[Any, ...]) -> "Grammar":
        """From such leaves, stacked ones, or whatever JAX puts in their place."""
        grammar = object.__new__(cls)
        names = ("log_weights", "root_log_probs", "rules", "depth")
        for name, value in zip(names, (*leaves, depth), strict=True):
            object.__setattr__(grammar, name, value)
        return grammar

    def __repr__(self) -> str:
        return (
            f"Grammar(vocab_size={self.vocab_size}, depth={self.depth}, "
            f"branching={self.branching}, max_rules={self.max_rules}, "
            f"shared={self.shared})"
        )

    def table_index(self, level: int) -> int:
        """Which entry of the first axis of ``log_weights`` and ``children`` serves ``level``."""
        return 0 if self.shared else level

    @jax.jit
    def to_tensor(self) -> Float[Array, "..."]:
        """Dense production probabilities rho[(level,) a, b1, …, bs], the inverse of from_tensor."""
        levels, vocab, _, branching = self.rules.shape
        shape = (levels, vocab) + (vocab,) * branching
        level, parent, _ = np.indices(self.log_weights.shape)
        children = self.rules.children
        index = (level, parent, *(children[..., position] for position in range(branching)))
        tensor = jnp.zeros(shape, self.log_weights.dtype).at[index].add(jnp.exp(self.log_weights))
        return tensor[0] if self.shared else tensor

    @classmethod
    def random(
        cls,
        key: Key[Array, ""],
        *,
        vocab_size: int,
        depth: int,
        branching: int = 2,
        rules_per_symbol: int,
        sigma: float = 1.0,
        shared: bool = True,
    ) -> "Grammar":
        """The paper's ensemble: tuples dealt out among the parents, softmax-normal weights.

        The q**s tuples are shuffled, every parent gets its own ``rules_per_symbol`` of them (so a
        tuple has at most one parent), and a parent's weights are the softmax of
        ``sigma`` · N(0, 1) logits (science.md#data).

        Args:
            key: one typed key.
            vocab_size: q, at least 2.
            depth: L, at least 1.
            branching: s, at least 2.
            rules_per_symbol: m, in 1…q**(s − 1).
            sigma: spread of the logits; 0 makes the rules of a parent equally likely.
            shared: one rule table for all levels, or one per level.

        Raises:
            ValueError: if an argument is out of its range.

        Example:
            >>> hm.Grammar.random(key, vocab_size=6, depth=4, rules_per_symbol=4)
            Grammar(vocab_size=6, depth=4, branching=2, max_rules=4, shared=True)
        """
        check_key(key)
        children = deal_rules(key, vocab_size, depth, branching, rules_per_symbol, shared)
        require(bool(np.isfinite(sigma)) and sigma >= 0, "sigma", sigma, "finite and at least 0")
        logits = sigma * jax.random.normal(jax.random.fold_in(key, depth), children.shape[:-1])
        log_weights = jax.nn.log_softmax(logits, axis=-1)
        return cls(log_weights, _uniform_log_probs(vocab_size), RuleTable(children), depth)

    @classmethod
    def random_hierarchy(
        cls,
        key: Key[Array, ""],
        *,
        vocab_size: int,
        depth: int,
        branching: int,
        rules_per_symbol: int,
    ) -> "Grammar":
        """The random hierarchy model: rules of their own per level, all equally likely.

        Arguments and errors as in :meth:`random` (science.md#data; Cagnetta et al. 2307.02129).

        Example:
            >>> drawn = hm.Grammar.random_hierarchy(
            ...     key, vocab_size=8, depth=3, branching=2, rules_per_symbol=2
            ... )
            >>> drawn.shared, np.unique(jnp.exp(drawn.log_weights)).tolist()
            (False, [0.5])
        """
        return cls.random(
            key,
            vocab_size=vocab_size,
            depth=depth,
            branching=branching,
            rules_per_symbol=rules_per_symbol,
            sigma=0.0,
            shared=False,
        )

    @classmethod
    def random_zipf(
        cls,
        key: Key[Array, ""],
        *,
        vocab_size: int,
        depth: int,
        branching: int = 2,
        rules_per_symbol: int | Sequence[int],
        exponent: float = 1.0,
        shared: bool = False,
    ) -> "Grammar":
        """Rules dealt out as in :meth:`random`, of unequal frequencies, numbers, or both.

        A symbol's rule of rank k has a probability in proportion to k**−exponent (Zipf's law; the
        ranks are those of the rule list, whose rules come in random order).

        Args:
            key: one typed key.
            vocab_size: q, at least 2.
            depth: L, at least 1.
            branching: s, at least 2.
            rules_per_symbol: m, or one number for every symbol, each at least 1, which add up to
                at most q**s.
            exponent: of the law, at least 0; at 0 the rules of a symbol are equally likely.
            shared: one rule table for all levels, or one per level.

        Raises:
            ValueError: if an argument is out of its range.

        Example:
            >>> drawn = hm.Grammar.random_zipf(key, vocab_size=2, depth=3, rules_per_symbol=[2, 1])
            >>> [[f"{prob:.3f}" for prob in row] for row in jnp.exp(drawn.log_weights[0])]
            [['0.667', '0.333'], ['1.000', '0.000']]
        """
        check_key(key)
        require(bool(np.isfinite(exponent)) and exponent >= 0, "exponent", exponent, "at least 0")
        vocab_size = check_integer("vocab_size", vocab_size, 2)
        branching = check_integer("branching", branching, 2)
        counts = rule_counts(rules_per_symbol, vocab_size, vocab_size**branching)
        depth = check_integer("depth", depth, 1)
        codes = np.stack([
            deal_tuples(jax.random.fold_in(key, level), vocab_size**branching, int(counts.sum()))
            for level in range(1 if shared else depth)
        ])  # fmt: skip
        exists = np.arange(counts.max()) < counts[:, None]
        padded = np.zeros((len(codes), *exists.shape), np.int64)
        padded[:, exists] = codes
        frequency = exists * np.arange(1.0, counts.max() + 1) ** -exponent
        log_weights = _safe_log(frequency / frequency.sum(-1, keepdims=True))
        children = tuples_from_codes(padded, vocab_size, branching)
        return cls(
            jnp.asarray(np.tile(log_weights, (len(codes), 1, 1)), jnp.result_type(float)),
            _uniform_log_probs(vocab_size),
            RuleTable(np.where(exists[..., None], children, 0)),
            depth,
        )

    @classmethod
    def from_tensor(
        cls, rho: Array | np.ndarray, *, depth: int, root_probs: Array | np.ndarray | None = None
    ) -> "Grammar":
        """A grammar from dense production probabilities.

        Args:
            rho: (q,) * (s + 1), rho[a, b1, …, bs], for all levels; or (depth,) + (q,) * (s + 1),
                one tensor per level. Every rho[a] sums to 1. Zeros are forbidden productions.
            depth: L, at least 1.
            root_probs: (q,) prior of the root; uniform if left out.

        Raises:
            ValueError: if shapes do not fit, or rows are negative, not finite, or do not sum to 1.

        Example:
            >>> rho = np.zeros((2, 2, 2))
            >>> rho[0, 0, 1] = rho[1, 1, 0] = 1  # 0 produces 0 1, and 1 produces 1 0
            >>> certain = hm.Grammar.from_tensor(rho, depth=2, root_probs=np.array([1.0, 0.0]))
            >>> hm.sample_leaves(key, certain, 1).tolist()
            [[0, 1, 1, 0]]
        """
        depth = check_integer("depth", depth, 1)
        rho = np.asarray(rho, dtype=np.float64)
        vocab = rho.shape[-1] if rho.ndim else 0
        is_shared = rho.ndim >= 3 and rho.shape == (vocab,) * rho.ndim
        is_per_level = rho.ndim >= 4 and rho.shape == (depth,) + (vocab,) * (rho.ndim - 1)
        if not (is_shared or is_per_level) or vocab < 2:
            raise InputError(
                f"rho has shape {rho.shape}, which is not allowed: it must be (q,)*(s+1) or "
                f"({depth},)+(q,)*(s+1) with q and s at least 2"
            )
        if is_shared and is_per_level:
            # depth == q: only the reading with normalised rows can be meant. Read as shared rules,
            # a tensor per level has rows that sum to q.
            is_shared = not np.allclose(rho.sum(tuple(range(2, rho.ndim))), 1)
        tensors = rho[None] if is_shared else rho
        branching = tensors.ndim - 2
        flat = tensors.reshape(len(tensors), vocab, vocab**branching)
        check_probabilities("rho", flat)
        root_log_probs = _root_log_probs(root_probs, vocab)
        children, probs = _list_rules(flat, branching)
        log_weights = jnp.asarray(_safe_log(probs / probs.sum(-1, keepdims=True)))
        return cls(log_weights, root_log_probs, RuleTable(children), depth)

    @classmethod
    def from_rules(
        cls,
        children: Array | np.ndarray,
        probs: Array | np.ndarray | None = None,
        *,
        depth: int,
        root_probs: Array | np.ndarray | None = None,
    ) -> "Grammar":
        """A grammar from lists of rules, for vocabularies whose tensor would be too large.

        Args:
            children: integers (q, m, s), the tuples that rules 0…m − 1 of every symbol produce, at
                all levels; or (depth, q, m, s), rules of their own per level.
            probs: probability of each rule, of the shape of ``children`` less its last axis. Rows
                sum to 1. A rule of probability 0 does not exist, and its children are ignored: so
                symbols may have different numbers of rules. Equally likely if left out.
            depth: L, at least 1.
            root_probs: (q,) prior of the root; uniform if left out.

        Raises:
            ValueError: if shapes do not fit, a child is no symbol, a symbol has the same rule
                twice, or probabilities are negative, not finite, or do not sum to 1.

        Example:
            >>> children = np.array([[[0, 1]], [[1, 0]]])  # 0 produces 0 1, and 1 produces 1 0
            >>> certain = hm.Grammar.from_rules(children, depth=2, root_probs=np.array([1.0, 0.0]))
            >>> hm.sample_leaves(key, certain, 1).tolist()
            [[0, 1, 1, 0]]
        """
        depth = check_integer("depth", depth, 1)
        children = check_children(children, depth)
        shape = children.shape[:-1]
        rows = np.full(shape, 1 / shape[-1]) if probs is None else np.asarray(probs, np.float64)
        if rows.shape != shape:
            raise InputError(
                f"probs has shape {rows.shape}, which is not allowed: it must be that of children "
                f"less the last axis, {shape}"
            )
        check_probabilities("probs", rows)
        if children.ndim == 3:
            children, rows = children[None], rows[None]
        check_rules(children, rows)
        # As from_tensor does: the rules that exist come first, in their order.
        order = np.argsort(rows <= 0, axis=-1, kind="stable")[..., : (rows > 0).sum(-1).max()]
        rows = np.take_along_axis(rows, order, axis=-1)
        listed = np.take_along_axis(children, order[..., None], axis=-2)
        table = RuleTable(np.where(rows[..., None] > 0, listed, 0))
        log_weights = jnp.asarray(_safe_log(rows / rows.sum(-1, keepdims=True)))
        return cls(log_weights, _root_log_probs(root_probs, shape[-2]), table, depth)


def paper_grammar(seed: int = 0) -> Grammar:
    """The paper's grammar: q = 6, depth 4, branching 2, four rules per symbol, sigma = 1.

    Its weights come from NumPy's legacy generator, in the order of the authors' code, so the
    tensor equals theirs to the last bit in float64 (science.md#data).

    Args:
        seed: seed of the legacy generator, in 0…2**32 − 1; the paper uses 0.

    Raises:
        ValueError: if the seed is out of range.

    Example:
        >>> paper = hm.paper_grammar()
        >>> paper.depth, paper.vocab_size
        (4, 6)
    """
    seed = check_integer("seed", seed, 0, 2**32 - 1)
    return Grammar.from_tensor(legacy_tensor(seed, 6, 4, 1.0), depth=4)


def legacy_tensor(seed: int, vocab_size: int, rules_per_symbol: int, sigma: float) -> np.ndarray:
    """Float64 tensor (q, q, q) of the authors' seeding: shuffle the pairs, then draw logits."""
    generator = np.random.RandomState(seed)
    pairs = list(itertools.product(range(vocab_size), repeat=2))
    generator.shuffle(pairs)
    logits = np.full((vocab_size,) * 3, -np.inf)
    for parent in range(vocab_size):
        own = pairs[parent * vocab_size : parent * vocab_size + rules_per_symbol]
        for left, right in own:
            logits[parent, left, right] = sigma * generator.normal()
    # Summing over all q² pairs, zeros included, fixes the order of additions and so the last bit.
    weights = np.exp(logits - logits.max(axis=(1, 2), keepdims=True)).reshape(vocab_size, -1)
    rho = weights / np.stack([row.sum() for row in weights])[:, None]
    return rho.reshape((vocab_size,) * 3)


def symbol_dtype(vocab_size: int) -> type[np.signedinteger]:
    """The smallest of int8 and int32 that holds every symbol: how sequences are stored."""
    return np.int8 if vocab_size <= np.iinfo(np.int8).max + 1 else np.int32


def _list_rules(flat: np.ndarray, branching: int) -> tuple[np.ndarray, np.ndarray]:
    """Children and probabilities of the non-zero entries of (levels, q, q**s), padded."""
    vocab_size = flat.shape[1]
    max_rules = int((flat > 0).sum(-1).max())
    # A stable sort puts the existing rules first and keeps them in the order of their tuples.
    order = np.argsort(flat <= 0, axis=-1, kind="stable")[..., :max_rules]
    probs = np.take_along_axis(flat, order, axis=-1)
    codes = np.where(probs > 0, order, 0)
    return tuples_from_codes(codes, vocab_size, branching), probs


def _root_log_probs(
    root_probs: Array | np.ndarray | None, vocab_size: int
) -> Float[Array, " vocab"]:
    """Log-prior of the root from its probabilities, which are checked; uniform for None."""
    if root_probs is None:
        return _uniform_log_probs(vocab_size)
    root = np.asarray(root_probs, dtype=np.float64)
    require(root.shape == (vocab_size,), "root_probs", root, f"an array of shape ({vocab_size},)")
    check_probabilities("root_probs", root)
    return jnp.asarray(_safe_log(root / root.sum()))


def _safe_log(probs: np.ndarray) -> np.ndarray:
    """Log with log 0 = −inf, quietly."""
    with np.errstate(divide="ignore"):
        return np.log(probs)


def _uniform_log_probs(vocab_size: int) -> Float[Array, " vocab"]:
    return jnp.full(vocab_size, -np.log(vocab_size), dtype=jnp.result_type(float))
