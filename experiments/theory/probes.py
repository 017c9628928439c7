"""Linear probes: what symbols can be read off features, leaf by leaf (science.md#f7).

On the host: LAPACK's batched solver in a loop of a program waits for itself where threads are few.
"""

import numpy as np
from jaxtyping import Float, Int


def probe_accuracies(
    train: tuple[
        Float[np.ndarray, "inputs leaves width"], Int[np.ndarray, "targets inputs leaves"]
    ],
    test: tuple[Float[np.ndarray, "inputs leaves width"], Int[np.ndarray, "targets inputs leaves"]],
    vocab_size: int,
    penalty: float = 1e-3,
) -> Float[np.ndarray, " targets"]:
    """How often linear probes name symbols, one probe for each leaf and target.

    Ridge regression of one-hot symbols on features, in closed form; the largest output is the
    answer. Features have mean 0 and variance 1 before they are penalised.

    Args:
        train: features, and symbols to tell from each leaf's, on which probes are fitted.
        test: likewise, on which they are tried.
        vocab_size: q.
        penalty: of squared weights, per input.

    Returns:
        Shares of right answers, mean over inputs and leaves.
    """
    asked, wanted = test
    found = read_symbols(train, asked, vocab_size, penalty)
    return (found.argmax(-1) == wanted).mean((1, 2))


def read_symbols(
    train: tuple[
        Float[np.ndarray, "inputs leaves width"], Int[np.ndarray, "targets inputs leaves"]
    ],
    asked: Float[np.ndarray, "asked leaves width"],
    vocab_size: int,
    penalty: float = 1e-3,
) -> Float[np.ndarray, "targets asked leaves vocab"]:
    """What those probes give: about the probability of every symbol."""
    h, symbols = train
    found = [
        _read(h[:, leaf], symbols[:, :, leaf], asked[:, leaf], vocab_size, penalty)
        for leaf in range(h.shape[1])
    ]
    return np.stack(found, -2)


def _read(
    h: Float[np.ndarray, "inputs width"],
    symbols: Int[np.ndarray, "targets inputs"],
    asked: Float[np.ndarray, "asked width"],
    vocab_size: int,
    penalty: float,
) -> Float[np.ndarray, "targets asked vocab"]:
    """Of one leaf."""
    mean, scale = h.mean(0), np.maximum(h.std(0), 1e-6)
    h, asked = (h - mean) / scale, (asked - mean) / scale
    wanted = np.eye(vocab_size, dtype=h.dtype)[symbols]
    prior = wanted.mean(1, keepdims=True)
    gram = h.T @ h / len(h) + penalty * np.eye(h.shape[1], dtype=h.dtype)
    weights = np.linalg.solve(gram, h.T @ (wanted - prior) / len(h))
    return asked @ weights + prior
