"""What a new user does next, with the extra "train": run on an installed wheel."""

import jax
import numpy as np

import hiermodel as hm


def main() -> None:
    """Train a small network for a few steps and compare it with the oracle."""
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(20)
    sequences = hm.sample_leaves(jax.random.key(0), grammar, 32)
    mine = hm.fit(
        jax.random.key(1),
        hm.networks.MLPConfig(16, 6, width=16, num_blocks=1),
        sequences,
        schedule,
        num_steps=5,
        batch_size=8,
        learning_rate=1e-3,
    )
    noisy = hm.add_noise(jax.random.key(2), schedule, hm.one_hot(sequences, 6), t=5)
    exact = hm.exact_denoiser(grammar, schedule)
    divergence = np.asarray(hm.measures.denoiser_divergence(exact, mine, noisy, 5))
    assert divergence.shape == (32,)
    assert (divergence > 0).all()
    print(f"with the extra 'train': {divergence.mean():.3f} nats from the oracle, as untrained")


if __name__ == "__main__":
    main()
