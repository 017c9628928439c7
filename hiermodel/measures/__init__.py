"""Measures: pure functions of log-probabilities, sequences and keys (science.md#measures)."""

# What is learned: losses, divergences from an oracle or another network.
# What is copied: neighbours, the own–other gap, reproduction, membership, extraction.
# When: minima along training, the advice to stop. How surely: intervals.
from hiermodel.measures.advisor import Advice, Evidence, advise_stop
from hiermodel.measures.canaries import epsilon_lower_bound
from hiermodel.measures.decomposition import LossDecomposition, decompose_loss
from hiermodel.measures.dependence import BlockExcess, permuted_block_excess
from hiermodel.measures.divergence import denoiser_divergence, kl_divergence
from hiermodel.measures.entropy import estimate_leaf_entropy
from hiermodel.measures.examine import Examination, examine_sampler
from hiermodel.measures.extraction import Clusters, find_clusters
from hiermodel.measures.features import (
    PairCorrelations,
    correlations_by_distance,
    pair_correlations,
)
from hiermodel.measures.floor import loss_floor
from hiermodel.measures.gap import own_other_gap, two_way_gap
from hiermodel.measures.gap_test import PermutedGap, permuted_gap
from hiermodel.measures.loss import denoising_loss, evaluate_loss
from hiermodel.measures.membership import Attack, attack_losses, evaluate_attack, membership_score
from hiermodel.measures.neighbour_law import law_histogram, reference_law
from hiermodel.measures.neighbours import (
    Neighbours,
    distance_histogram,
    histogram_divergence,
    nearest_images,
    nearest_neighbour_divergence,
    nearest_neighbour_floor,
    nearest_neighbours,
)
from hiermodel.measures.onset import Minimum, biased_phase, locate_minimum
from hiermodel.measures.reconstruction import Reconstruction, reconstruct_ancestors
from hiermodel.measures.reproduction import block_reproduction, excess_reproduction, near_copies
from hiermodel.measures.several_neighbours import neighbour_ratio
from hiermodel.measures.u_turn import overlap, repeated_u_turns
from hiermodel.measures.uncertainty import Interval, proportion_interval, student_interval
from hiermodel.measures.validity import Validity, level_validity

__all__ = [
    "Advice",
    "Attack",
    "BlockExcess",
    "Clusters",
    "Evidence",
    "Examination",
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
    "biased_phase",
    "block_reproduction",
    "correlations_by_distance",
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
    "histogram_divergence",
    "kl_divergence",
    "law_histogram",
    "level_validity",
    "locate_minimum",
    "loss_floor",
    "membership_score",
    "near_copies",
    "nearest_images",
    "nearest_neighbour_divergence",
    "nearest_neighbour_floor",
    "nearest_neighbours",
    "neighbour_ratio",
    "overlap",
    "own_other_gap",
    "pair_correlations",
    "permuted_block_excess",
    "permuted_gap",
    "proportion_interval",
    "reconstruct_ancestors",
    "reference_law",
    "repeated_u_turns",
    "student_interval",
    "two_way_gap",
]
