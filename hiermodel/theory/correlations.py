"""Correlations of leaves by tree distance, and how many sequences show them (science.md#f12, #f3).

The distance of two leaves is the number of levels from them up to their last common ancestor.

Random hierarchy model, siblings (distance 1) with parents equally likely: their joint law is a
count of rules, n_ab / (m v). The m v rules are drawn from v^s tuples, so a count has mean m v / v²
and variance (m / v)(1 − m / v^(s−1)) to leading order in 1/v; the variance of a covariance is that
divided by (m v)². One level further up, both leaves take one more step down a transition matrix
whose entries, counts of m rules over m, vary by 1 / (m v): for each leaf a factor 1 / m in the
square. So C_l² = (1 − m / v^(s−1)) / (v³ m^(2l − 1)).

Source: Cagnetta, Wyart, arXiv:2406.00048; derived anew here.
"""

import numpy as np
from jaxtyping import Float

from hiermodel.checks import check_integer, is_concrete, require
from hiermodel.grammar.paths_on_host import HostPaths, host_probs
from hiermodel.grammar.rules import Grammar
from hiermodel.theory.ensemble import check_sizes


def leaf_covariance(
    distance: int, *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> float:
    """C_l: root-mean-square covariance of two leaves, over their v² pairs of symbols and grammars.

    sqrt((1 − m / v^(s−1)) / (v³ m^(2l − 1))), to leading order in 1/v and 1/m (science.md#f12;
    arXiv:2406.00048; derivation above). :func:`expected_leaf_covariance` has the next order.

    Args:
        distance: l, levels up to the last common ancestor, at least 1.
        vocab_size: v, at least 2.
        rules_per_symbol: m, in 1…v**(s − 1).
        branching: s, at least 2.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> hm.theory.leaf_covariance(1, **rhm) > hm.theory.leaf_covariance(2, **rhm)
        True
    """
    vocab_size, rules, branching = check_sizes(vocab_size, rules_per_symbol, branching)
    distance = check_integer("distance", distance, 1)
    left_out = 1 - rules / vocab_size ** (branching - 1)
    return float(np.sqrt(left_out / vocab_size**3 / float(rules) ** (2 * distance - 1)))


def expected_leaf_covariance(
    distance: int, *, depth: int, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> float:
    """C_l with what a finite v and m change: for a common ancestor depth − l levels below the root.

    Two effects at the order of 1/v and 1/m. Rows and columns of a covariance sum to zero: a factor
    (1 − 1/v) per leaf and level in the square, and v^s / (v^s − 1) because rules are drawn without
    replacement. Symbols below the root are not equally likely in a given grammar: with
    Σ_a P(a)² = (1 + r) / v, the first 1 in C_l becomes 1 + r, where r is 0 at the root and each
    level down maps it to (1 − 1/v)(v^s / (v^s − 1))((1 + r) / m − 1 / v^(s−1)), about 1 / (m − 1)
    after a few. What is left out is of order 1/v² and 1/(v m), and that both leaves of a pair use
    the same rules. Derived here.

    Args and errors as :func:`leaf_covariance`; ``depth`` is L, at least ``distance``.

    Example:
        >>> near = hm.theory.expected_leaf_covariance(1, depth=3, **rhm)
        >>> near > hm.theory.expected_leaf_covariance(2, depth=3, **rhm)
        True
    """
    vocab_size, rules, branching = check_sizes(vocab_size, rules_per_symbol, branching)
    depth = check_integer("depth", depth, 1)
    distance = check_integer("distance", distance, 1, depth)
    centred, tuples = 1 - 1 / vocab_size, float(vocab_size) ** branching
    redrawn = tuples / (tuples - 1)
    unequal = 0.0
    for _ in range(depth - distance):
        spread = (1 + unequal) / rules - vocab_size / tuples
        unequal = centred * redrawn * spread
    square = (1 + unequal - rules * vocab_size / tuples) / (vocab_size**3 * rules)
    square *= redrawn * centred**2
    return float(np.sqrt(square * (redrawn * centred / rules) ** (2 * (distance - 1))))


def sampling_noise(num_sequences: int, *, vocab_size: int) -> float:
    """Root-mean-square error of a covariance measured on P sequences: (v² P)^(−1/2).

    Source: science.md#f12.

    A pair of symbols has a probability of about 1/v², so its frequency varies by 1 / (v² P).

    Args:
        num_sequences: P, at least 1.
        vocab_size: v, at least 2.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> few, many = (hm.theory.sampling_noise(n, vocab_size=16) for n in (100, 400))
        >>> many < few
        True
    """
    vocab_size = check_integer("vocab_size", vocab_size, 2)
    num_sequences = check_integer("num_sequences", num_sequences, 1)
    return float(1 / (vocab_size * np.sqrt(num_sequences)))


def sequences_to_see(
    distance: int, *, vocab_size: int, rules_per_symbol: int, branching: int = 2
) -> float:
    """P_l: from how many sequences on correlations at distance l exceed the sampling noise.

    v m^(2l − 1) / (1 − m / v^(s−1)), where C_l = (v² P)^(−1/2) (science.md#f12; arXiv:2406.00048).
    Infinite if every tuple has a rule, which leaves nothing to be seen in pairs.

    Args and errors as :func:`leaf_covariance`.

    Example:
        >>> hm.theory.sequences_to_see(2, **rhm) > hm.theory.sequences_to_see(1, **rhm)
        True
    """
    sizes = {
        "vocab_size": vocab_size,
        "rules_per_symbol": rules_per_symbol,
        "branching": branching,
    }
    covariance = leaf_covariance(distance, **sizes)
    return float("inf") if covariance == 0 else 1 / (vocab_size * covariance) ** 2


def sequences_to_learn(level: int, *, rules_per_symbol: int) -> float:
    """m^(l + 1): from about how many sequences on a diffusion model learns level l (science.md#f3).

    A scaling law: what counts is the slope of its logarithm in ln m and the order of the levels,
    not the factor. Small networks on small grammars keep the order and not the slopes (family F3,
    docs/theory.md). Level l is counted from the leaves: l = 1 are the rules that make the leaves.
    Source: Favero, Sclocchi, Cagnetta, Frossard, Wyart, arXiv:2502.12089, as quoted in
    science.md#f3; its derivation was not at hand.

    Args:
        level: l, at least 1.
        rules_per_symbol: m, at least 1.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> hm.theory.sequences_to_learn(2, rules_per_symbol=4)
        64.0
    """
    level = check_integer("level", level, 1)
    return float(check_integer("rules_per_symbol", rules_per_symbol, 1)) ** (level + 1)


def rms_leaf_covariance(grammar: Grammar) -> Float[np.ndarray, " depth"]:
    """Exact root-mean-square covariance of leaves at distances 1…depth, of any grammar.

    Over all pairs of leaves at the distance and all v² pairs of symbols. Sums over the paths below
    two siblings go by recursion: with G_l = Σ over positions of M G_(l+1) M^T (M the transition
    matrices, G = I at the leaves), the squares at an ancestor sum to tr(G C G C^T), C the
    covariance of its two children. Costs v³ per node instead of the square of the leaves.

    Args:
        grammar: any: weights, shared rules and ambiguity are allowed.

    Returns:
        (depth,) entry l − 1 is C_l.

    Raises:
        ValueError: if the weights are traced.

    Example:
        >>> hm.theory.rms_leaf_covariance(grammar).shape
        (2,)
    """
    require(is_concrete(grammar), "grammar", grammar, "outside a trace")
    marginals = HostPaths.of(grammar).marginals
    below = path_grams(grammar)
    branching, vocab_size = grammar.branching, grammar.vocab_size
    found = np.zeros(grammar.depth)
    for level in range(grammar.depth):
        height = grammar.depth - level - 1  # of the children
        total = 0.0
        for i in range(branching):
            for j in range(i + 1, branching):
                pairs = _sibling_law(grammar, level, i, j)
                joint = np.einsum("na,abc->nbc", marginals[level], pairs)
                covariance = joint - joint.sum(2)[:, :, None] * joint.sum(1)[:, None, :]
                half = below[level + 1] @ covariance @ below[level + 1]
                total += float((half * covariance).sum())
        per_node = branching * (branching - 1) / 2 * float(branching) ** (2 * height)
        found[height] = np.sqrt(total / (len(marginals[level]) * per_node)) / vocab_size
    return found


def path_grams(grammar: Grammar) -> list[np.ndarray]:
    """Per level 0…depth, Σ over the leaves below one of its nodes of M M^T, M[a, b] = P(b | a)."""
    grams = [np.eye(grammar.vocab_size)]
    for steps in reversed(HostPaths.of(grammar).steps):
        grams.append(np.einsum("iab,bc,idc->ad", steps, grams[-1], steps))
    return grams[::-1]


def _sibling_law(grammar: Grammar, level: int, i: int, j: int) -> np.ndarray:
    """P(child i = b, child j = c | parent = a), as [a, b, c]."""
    table = grammar.table_index(level)
    children = grammar.rules.children[table]
    weights = host_probs(grammar.log_weights[table])
    vocab_size = grammar.vocab_size
    law = np.zeros((vocab_size,) * 3)
    parents = np.broadcast_to(np.arange(vocab_size)[:, None], weights.shape)
    np.add.at(law, (parents, children[..., i], children[..., j]), weights)
    return law
