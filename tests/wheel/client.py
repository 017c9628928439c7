"""What a new user writes first: run on an installed wheel, and read by the type checker.

Only what the wheel itself needs is used: no Flax, no Optax.
"""

import subprocess
import sys
from pathlib import Path
from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np

import hiermodel as hm


def main() -> None:
    """Ask every namespace that needs no Flax for something that is known."""
    grammar = hm.Grammar.from_rules(np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]]]), depth=3)
    assert_type(grammar, hm.Grammar)
    leaves = hm.sample_leaves(jax.random.key(0), grammar, 5)
    assert_type(leaves, jax.Array)
    beliefs = hm.run_bp(grammar, jnp.log(hm.one_hot(leaves, 2)))
    assert_type(beliefs, hm.Beliefs)
    np.testing.assert_allclose(beliefs.log_evidence, hm.log_prob(grammar, leaves), rtol=1e-5)
    law = hm.grammar.enumerate_law(grammar)
    assert_type(law, hm.grammar.Law)
    np.testing.assert_allclose(np.sum(law.probs), 1, rtol=1e-6)

    schedule = hm.Schedule.linear(20)
    denoiser = hm.exact_denoiser(grammar, schedule)
    samples = hm.sample_ancestral(jax.random.key(1), denoiser, schedule, 6)
    assert_type(samples, jax.Array)
    gap = hm.measures.own_other_gap(
        samples, leaves, hm.sample_leaves(jax.random.key(2), grammar, 5)
    )
    assert np.isfinite(gap).all()
    gap_of_pictures = hm.measures.own_other_gap(
        np.ones((2, 3, 3)), np.ones((1, 3, 3)), np.zeros((1, 3, 3)), metric="euclidean"
    )
    np.testing.assert_allclose(gap_of_pictures, 3.0)

    threshold = hm.theory.noise_threshold(vocab_size=32, rules_per_symbol=8)
    assert_type(threshold, float | None)
    data = hm.datasets.load("rhm-v16-m4-s2-L4", num=8)
    assert_type(data.sequences, np.ndarray)
    assert data.sequences.shape == (8, 16)
    check = hm.datasets.checksum("rhm-v8-m4-s3-L3")
    assert check == hm.datasets.CHECKSUMS["rhm-v8-m4-s3-L3"]
    command = [sys.executable, "-m", "hiermodel.datasets", "paper", "--num", "10"]
    subprocess.run([*command, "--out", "paper.npz"], check=True)
    with np.load("paper.npz") as written:
        assert written["sequences"].shape == (10, 16)
    Path("paper.npz").unlink()

    try:
        hm.log_prob(grammar, leaves + 2)
    except ValueError as error:
        print("refused as it should be:", error)
    else:
        raise AssertionError("a symbol out of range was taken")
    versions = f"jax {jax.__version__}, numpy {np.__version__}"
    print(f"hiermodel {hm.__version__} works here: Python {sys.version.split()[0]}, {versions}")


if __name__ == "__main__":
    main()
