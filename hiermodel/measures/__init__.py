"""Measures: pure functions of log-probabilities, sequences and keys (science.md#measures)."""

from hiermodel.measures.advisor import Advice, Evidence, advise_stop
from hiermodel.measures.canaries import epsilon_lower_bound
from hiermodel.measures.decomposition import LossDecomposition, decompose_loss
from hiermodel.measures.dependence import BlockExcess, corrected_p_values, permuted_block_excess
from hiermodel.measures.divergence import denoiser_divergence, kl_divergence, unsupported_mass
from hiermodel.measures.entropy import estimate_leaf_entropy
from hiermodel.measures.examine import Examination, examine_sampler
from hiermodel.measures.extraction import Clusters, Extraction, find_clusters, score_claims
from hiermodel.measures.features import (
    PairCorrelations,
    correlations_by_distance,
    pair_correlations,
    pair_covariance,
    tree_distance,
)
from hiermodel.measures.floor import loss_floor
from hiermodel.measures.gap_test import PermutedGap, permuted_gap
from hiermodel.measures.loss import denoising_loss, evaluate_loss, stratified_steps
from hiermodel.measures.membership import (
    Attack,
    attack_losses,
    auc,
    evaluate_attack,
    membership_score,
    tpr_at_fpr,
)
from hiermodel.measures.neighbour_law import law_histogram, reference_law
from hiermodel.measures.neighbours import (
    Neighbours,
    distance_histogram,
    histogram_divergence,
    nearest_images,
    nearest_neighbour_divergence,
    nearest_neighbour_floor,
    nearest_neighbours,
    own_other_gap,
    two_way_gap,
)
from hiermodel.measures.onset import (
    Minimum,
    biased_phase,
    locate_minimum,
    minimum_after_transient,
    minimum_interval,
    paired_log_ratio,
    smooth_log_time,
)
from hiermodel.measures.reconstruction import (
    Reconstruction,
    crossing_time,
    reconstruct_ancestors,
)
from hiermodel.measures.reproduction import (
    block_reproduction,
    copies_beyond_others,
    excess_reproduction,
    found_blocks,
    near_copies,
)
from hiermodel.measures.several_neighbours import nearest_several, neighbour_ratio
from hiermodel.measures.u_turn import overlap, overlap_ratio, repeated_u_turns
from hiermodel.measures.uncertainty import (
    Interval,
    bootstrap_interval,
    hierarchical_interval,
    pair_interval,
    proportion_difference,
    proportion_interval,
    sign_flip_test,
    student_interval,
)
from hiermodel.measures.validity import Validity, level_validity

__all__ = [
    "Advice",
    "Attack",
    "BlockExcess",
    "Clusters",
    "Evidence",
    "Examination",
    "Extraction",
    "Interval",
    "LossDecomposition",
    "Minimum",
    "Neighbours",
    "PairCorrelations",
    "PermutedGap",
    "Reconstruction",
    "Validity",
    "advise_stop",
    "attack_losses",
    "auc",
    "biased_phase",
    "block_reproduction",
    "bootstrap_interval",
    "copies_beyond_others",
    "corrected_p_values",
    "correlations_by_distance",
    "crossing_time",
    "decompose_loss",
    "denoiser_divergence",
    "denoising_loss",
    "distance_histogram",
    "epsilon_lower_bound",
    "estimate_leaf_entropy",
    "evaluate_attack",
    "evaluate_loss",
    "examine_sampler",
    "excess_reproduction",
    "find_clusters",
    "found_blocks",
    "hierarchical_interval",
    "histogram_divergence",
    "kl_divergence",
    "law_histogram",
    "level_validity",
    "locate_minimum",
    "loss_floor",
    "membership_score",
    "minimum_after_transient",
    "minimum_interval",
    "near_copies",
    "nearest_images",
    "nearest_neighbour_divergence",
    "nearest_neighbour_floor",
    "nearest_neighbours",
    "nearest_several",
    "neighbour_ratio",
    "overlap",
    "overlap_ratio",
    "own_other_gap",
    "pair_correlations",
    "pair_covariance",
    "pair_interval",
    "paired_log_ratio",
    "permuted_block_excess",
    "permuted_gap",
    "proportion_difference",
    "proportion_interval",
    "reconstruct_ancestors",
    "reference_law",
    "repeated_u_turns",
    "score_claims",
    "sign_flip_test",
    "smooth_log_time",
    "stratified_steps",
    "student_interval",
    "tpr_at_fpr",
    "tree_distance",
    "two_way_gap",
    "unsupported_mass",
]
