"""What is predicted in closed form, with the same objects as exact inference (science.md#theory).

Averages of the random hierarchy model take ``vocab_size``, ``rules_per_symbol`` and
``branching``; ``sizes(grammar)._asdict()`` gives them for a grammar of that kind. Functions that
take a ``Grammar`` are exact for any.
"""

from hiermodel.theory.belief_map import (
    belief_map,
    belief_slope,
    change_exponent,
    correlation_exponent,
    fixed_points,
    noise_threshold,
)
from hiermodel.theory.correlations import (
    expected_leaf_covariance,
    leaf_covariance,
    rms_leaf_covariance,
    sampling_noise,
    sequences_to_learn,
    sequences_to_see,
)
from hiermodel.theory.ensemble import Sizes, sizes
from hiermodel.theory.entropy import expected_entropy, expected_support
from hiermodel.theory.evolution import LeafNoise, expected_beliefs, recovery_threshold
from hiermodel.theory.population import sampled_beliefs, sampled_threshold
from hiermodel.theory.transitions import (
    class_signal,
    collapse_step,
    information,
    speciation_steps,
    threshold_step,
)

__all__ = [
    "LeafNoise",
    "Sizes",
    "belief_map",
    "belief_slope",
    "change_exponent",
    "class_signal",
    "collapse_step",
    "correlation_exponent",
    "expected_beliefs",
    "expected_entropy",
    "expected_leaf_covariance",
    "expected_support",
    "fixed_points",
    "information",
    "leaf_covariance",
    "noise_threshold",
    "recovery_threshold",
    "rms_leaf_covariance",
    "sampled_beliefs",
    "sampled_threshold",
    "sampling_noise",
    "sequences_to_learn",
    "sequences_to_see",
    "sizes",
    "speciation_steps",
    "threshold_step",
]
