"""Controlled hierarchical generative models with exact denoisers, and diffusion models on them."""

import importlib
from typing import TYPE_CHECKING, Any

from hiermodel._version import __version__
from hiermodel.diffusion.any_order import sample_any_order
from hiermodel.diffusion.corruption import add_noise, one_hot
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.denoisers import (
    empirical_denoiser,
    exact_denoiser,
    independent_denoiser,
)
from hiermodel.diffusion.deterministic import sample_ddim, sample_ode
from hiermodel.diffusion.discrete import DiscreteProcess
from hiermodel.diffusion.host import host_denoiser
from hiermodel.diffusion.process import Process
from hiermodel.diffusion.samplers import sample_ancestral, u_turn
from hiermodel.diffusion.schedule import Schedule
from hiermodel.diffusion.score import log_density, score
from hiermodel.grammar.rules import Grammar, paper_grammar
from hiermodel.grammar.sampling import sample_leaves, sample_tree
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.inference.belief_propagation import Beliefs, log_prob, run_bp
from hiermodel.inference.both_directions import NodeMessages, run_messages
from hiermodel.inference.families import family_log_marginals, posterior_entropy
from hiermodel.inference.learning import fit_grammar, fit_grammar_by_em
from hiermodel.inference.posterior import most_probable_tree, sample_posterior

if TYPE_CHECKING:  # what __getattr__ loads on first use
    from hiermodel import (
        datasets,
        diffusion,
        grammar,
        inference,
        measures,
        networks,
        theory,
        training,
    )
    from hiermodel.measures.advisor import Advice, advise_stop
    from hiermodel.measures.gap_test import permuted_gap
    from hiermodel.networks.published import transformer_from_state_dict
    from hiermodel.training.fitting import fit

__all__ = [
    "Advice",
    "Beliefs",
    "Denoiser",
    "DiscreteProcess",
    "Grammar",
    "NodeMessages",
    "Process",
    "Schedule",
    "Splits",
    "__version__",
    "add_noise",
    "advise_stop",
    "datasets",
    "diffusion",
    "empirical_denoiser",
    "exact_denoiser",
    "family_log_marginals",
    "fit",
    "fit_grammar",
    "fit_grammar_by_em",
    "grammar",
    "host_denoiser",
    "independent_denoiser",
    "inference",
    "log_density",
    "log_prob",
    "make_splits",
    "measures",
    "most_probable_tree",
    "networks",
    "one_hot",
    "paper_grammar",
    "permuted_gap",
    "posterior_entropy",
    "run_bp",
    "run_messages",
    "sample_ancestral",
    "sample_any_order",
    "sample_ddim",
    "sample_leaves",
    "sample_ode",
    "sample_posterior",
    "sample_tree",
    "score",
    "theory",
    "training",
    "transformer_from_state_dict",
    "u_turn",
]

# Namespaces, and names of those that need more than JAX: scipy's statistics, or Flax and Optax.
LAZY = {
    "Advice": "hiermodel.measures.advisor",
    "advise_stop": "hiermodel.measures.advisor",
    "datasets": None,
    "diffusion": None,
    "fit": "hiermodel.training.fitting",
    "grammar": None,
    "inference": None,
    "measures": None,
    "networks": None,
    "permuted_gap": "hiermodel.measures.gap_test",
    "theory": None,
    "training": None,
    "transformer_from_state_dict": "hiermodel.networks.published",
}
TRAINING_PACKAGES = ("filelock", "flax", "optax", "orbax", "tqdm")


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'hiermodel' has no attribute {name!r}")
    try:
        module = importlib.import_module(LAZY[name] or f"hiermodel.{name}")
    except ModuleNotFoundError as error:
        if error.name in TRAINING_PACKAGES:
            message = f"hiermodel.{name} needs {error.name}: pip install 'hiermodel[train]'"
            raise ModuleNotFoundError(message, name=error.name) from error
        raise
    return getattr(module, name) if LAZY[name] else module


def __dir__() -> list[str]:
    return [*__all__]
