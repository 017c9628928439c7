"""Calls of diffusion with bad input, and what their messages name."""

import jax
import numpy as np
from bad_grammar_input import FIELD, KEY, LEAVES, PAPER, put

import hiermodel as hm

SCHEDULE = hm.Schedule.linear(500)
EXACT = hm.exact_denoiser(PAPER, SCHEDULE)
MASKED = hm.DiscreteProcess.masked(6, 10)
FILL_IN = hm.exact_denoiser(PAPER, MASKED)

# name: (call, the argument, its value, what is allowed)
CASES = {
    "filter level not whole": (
        lambda: hm.exact_denoiser(PAPER, SCHEDULE, filter_level=1.5),
        "filter_level",
        "1.5",
        "0…4",
    ),
    "filter level of density": (
        lambda: hm.log_density(PAPER, SCHEDULE, FIELD, 3, filter_level=5),
        "filter_level",
        "5",
        "0…4",
    ),
    "t of zero": (lambda: EXACT(FIELD, 0), "t", "0", "1…500"),
    "t beyond T": (lambda: EXACT(FIELD, 501), "t", "501", "1…500"),
    "t beyond T in an array": (
        lambda: EXACT(np.zeros((2, 16, 6)), np.array([3, 501])),
        "t",
        "501",
        "1…500",
    ),
    "t not whole": (lambda: EXACT(FIELD, 0.5), "t", "0.5", "1…500"),
    "t of noise": (lambda: hm.add_noise(KEY, SCHEDULE, FIELD, 501), "t", "501", "1…500"),
    "t of score": (lambda: hm.score(EXACT, SCHEDULE, FIELD, 0), "t", "0", "1…500"),
    "t of density": (lambda: hm.log_density(PAPER, SCHEDULE, FIELD, 0), "t", "0", "1…500"),
    "t of U-turn": (lambda: hm.u_turn(KEY, EXACT, SCHEDULE, LEAVES, 501), "t", "501", "1…500"),
    "t does not broadcast": (
        lambda: EXACT(np.zeros((3, 16, 6)), np.array([1, 2])),
        "t",
        "[1, 2]",
        "broadcast",
    ),
    "t with more axes than x_t": (
        lambda: EXACT(FIELD, np.array([7, 8])),
        "t",
        "[7, 8]",
        "broadcast",
    ),
    "noisy data of wrong length": (lambda: EXACT(np.zeros((8, 6)), 3), "x_t", "(8, 6)", "(16, 6)"),
    "noisy data not finite": (lambda: EXACT(put(FIELD, np.nan), 3), "x_t", "nan", "finite"),
    "noisy data of integers": (lambda: EXACT(FIELD.astype(int), 3), "x_t", "int", "floating"),
    "several keys": (
        lambda: hm.add_noise(jax.random.split(KEY, 2), SCHEDULE, FIELD, 3),
        "key",
        "(2,)",
        "single",
    ),
    "raw key of a sampler": (
        lambda: hm.sample_ancestral(7, EXACT, SCHEDULE, 3),
        "key",
        "7",
        "jax.random.key",
    ),
    "start beyond T": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, 3, start=501),
        "start",
        "501",
        "1…500",
    ),
    "neither number nor start": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE),
        "num_samples",
        "None",
        "x_T",
    ),
    "both number and start": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, 3, x_T=FIELD),
        "num_samples",
        "3",
        "x_T",
    ),
    "no shape to sample": (
        lambda: hm.sample_ancestral(KEY, hm.independent_denoiser(SCHEDULE), SCHEDULE, 3),
        "x_T",
        "None",
        "array",
    ),
    "x_T of wrong shape": (
        lambda: hm.sample_ancestral(KEY, EXACT, SCHEDULE, x_T=np.zeros((16, 5))),
        "x_T",
        "(16, 5)",
        "(16, 6)",
    ),
    "symbol of a U-turn": (
        lambda: hm.u_turn(KEY, EXACT, SCHEDULE, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "length of a U-turn": (
        lambda: hm.u_turn(KEY, EXACT, SCHEDULE, LEAVES[:8], 3),
        "x_0",
        "(8,",
        "16",
    ),
    "integers to be noised": (
        lambda: hm.add_noise(KEY, SCHEDULE, FIELD.astype(int), 3),
        "x_0",
        "int",
        "floating",
    ),
    "schedule too short": (lambda: hm.Schedule.linear(19), "num_steps", "19", "at least 20"),
    "betas above one": (
        lambda: hm.Schedule.from_betas(np.array([0.1, 1.2])),
        "betas",
        "1.2",
        "at most 1",
    ),
    "betas of zero": (
        lambda: hm.Schedule.from_betas(np.array([0.0, 0.5])),
        "betas",
        "0.",
        "above 0",
    ),
    "training symbol too large": (
        lambda: hm.empirical_denoiser(SCHEDULE, put(LEAVES, 6)[None], 6),
        "sequences",
        "6",
        "0…5",
    ),
    "no training sequence": (
        lambda: hm.empirical_denoiser(SCHEDULE, np.zeros((0, 16), int), 6),
        "sequences",
        "(0, 16)",
        "n > 0",
    ),
    "marginals that do not sum to one": (
        lambda: hm.independent_denoiser(SCHEDULE, np.log(np.full((16, 6), 0.25))),
        "log_probs",
        "1.38",
        "sum to 1",
    ),
    "masked data without a vocabulary": (
        lambda: hm.DiscreteProcess.masked(1),
        "vocab_size",
        "1",
        "at least 2",
    ),
    "no discrete step": (lambda: hm.DiscreteProcess.uniform(6, 0), "num_steps", "0", "at least 1"),
    "unknown decay": (
        lambda: hm.DiscreteProcess.masked(6, decay="slow"),
        "decay",
        "slow",
        "cosine",
    ),
    "discrete betas of zero": (
        lambda: hm.DiscreteProcess.from_betas([0.0, 0.5], np.full(6, 1 / 6), 6),
        "betas",
        "0.",
        "above 0",
    ),
    "noise law of another length": (
        lambda: hm.DiscreteProcess.from_betas([0.5], np.full(8, 1 / 8), 6),
        "noise_law",
        "0.125",
        "7 with a mask",
    ),
    "noise law that is none": (
        lambda: hm.DiscreteProcess.from_betas([0.5], np.full(6, 0.25), 6),
        "noise_law",
        "0.25",
        "sum to 1",
    ),
    "a mask to be masked": (
        lambda: hm.add_noise(KEY, MASKED, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "t of corruption": (lambda: hm.add_noise(KEY, MASKED, LEAVES, 11), "t", "11", "1…10"),
    "state beyond the mask": (lambda: FILL_IN(put(LEAVES, 7), 3), "x_t", "7", "0…6"),
    "states that are not integers": (lambda: FILL_IN(FIELD[:, 0], 3), "x_t", "float", "integers"),
    "states of wrong length": (lambda: FILL_IN(LEAVES[:8], 3), "x_t", "(8,)", "(16,)"),
    "t of states": (lambda: FILL_IN(LEAVES, 11), "t", "11", "1…10"),
    "t that does not broadcast with states": (
        lambda: FILL_IN(LEAVES, np.array([7, 8])),
        "t",
        "[7, 8]",
        "broadcast",
    ),
    "clean symbol of a posterior": (
        lambda: MASKED.log_posterior(LEAVES, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
    "process on other symbols": (
        lambda: hm.exact_denoiser(PAPER, hm.DiscreteProcess.uniform(5, 10)),
        "schedule",
        "5",
        "6",
    ),
    "joint draws from single positions": (
        lambda: hm.sample_ancestral(KEY, hm.independent_denoiser(MASKED), MASKED, 3, joint=True),
        "joint",
        "True",
        "False",
    ),
    "unmasking without masks": (
        lambda: hm.sample_any_order(KEY, FILL_IN, hm.DiscreteProcess.uniform(6, 10), 3),
        "noise_law",
        "0.16",
        "mask",
    ),
    "states to start from": (
        lambda: hm.sample_ancestral(KEY, FILL_IN, MASKED, x_T=put(LEAVES, 7)),
        "x_T",
        "7",
        "0…6",
    ),
    "start beyond a discrete T": (
        lambda: hm.sample_ancestral(KEY, FILL_IN, MASKED, 3, start=11),
        "start",
        "11",
        "1…10",
    ),
    "symbol of a discrete U-turn": (
        lambda: hm.u_turn(KEY, FILL_IN, MASKED, put(LEAVES, 6), 3),
        "x_0",
        "6",
        "0…5",
    ),
}
