"""Sequences from a grammar: the law is known, and all that follows from it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from experiments.configs import RunConfig
from experiments.store import Measurement, Measurements
from experiments.worlds.grammar_samples import comparison
from experiments.worlds.world import Comparison, Reference, World
from hiermodel.checks import require
from hiermodel.diffusion.corruption import one_hot
from hiermodel.diffusion.denoiser import Denoiser
from hiermodel.diffusion.denoisers import exact_denoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar, legacy_tensor, symbol_dtype
from hiermodel.grammar.sampling import sample_leaves
from hiermodel.grammar.splits import Splits, make_splits
from hiermodel.inference.resampling import redraw_leaves
from hiermodel.measures.divergence import CLIP, kl_divergence, unsupported_mass
from hiermodel.measures.loss import denoising_loss
from hiermodel.networks.network import apply
from hiermodel.random_bits import THREEFRY
from hiermodel.training.data import FreshData
from hiermodel.training.data import fresh as draw_fresh
from hiermodel.training.state import OMIT_DEFAULT


@dataclasses.dataclass(frozen=True)
class GrammarConfig:
    """Which grammar makes the data (science.md#data).

    Attributes:
        kind: "paper" draws with NumPy's legacy generator in the authors' order, "random" is the
            same ensemble from a JAX key, "hierarchy" the random hierarchy model.
        seed: seed of the grammar itself.
        shared: whether all levels share their rules ("random" only).
        filter_level: filter level of the data; 0 is the full model.
    """

    kind: Literal["paper", "random", "hierarchy"] = "paper"
    vocab_size: int = 6
    depth: int = 4
    branching: int = 2
    rules_per_symbol: int = 4
    sigma: float = 1.0
    shared: bool = True
    seed: int = 0
    filter_level: int = dataclasses.field(default=0, metadata=OMIT_DEFAULT)

    def build(self) -> Grammar:
        """The grammar itself.

        Raises:
            ValueError: for an unknown kind or settings that the kind does not have.
        """
        sizes = {
            "vocab_size": self.vocab_size,
            "depth": self.depth,
            "branching": self.branching,
            "rules_per_symbol": self.rules_per_symbol,
        }
        if self.kind == "random":
            key = jax.random.key(self.seed, impl=THREEFRY)
            return Grammar.random(key, **sizes, sigma=self.sigma, shared=self.shared)
        if self.kind == "hierarchy":
            return Grammar.random_hierarchy(jax.random.key(self.seed, impl=THREEFRY), **sizes)
        require(self.kind == "paper", "kind", self.kind, "'paper', 'random' or 'hierarchy'")
        require(self.branching == 2, "branching", self.branching, "2 for the paper's grammar")
        rho = legacy_tensor(self.seed, self.vocab_size, self.rules_per_symbol, self.sigma)
        return Grammar.from_tensor(rho, depth=self.depth)


class GrammarWorld(World):
    """Sequences of symbols; networks give the probability of every symbol at every leaf."""

    config = GrammarConfig
    metric = "hamming"
    examples = "sequences"
    axes = ("leaf",)
    units: Mapping[str, str] = {
        "value": "symbol",
        "loss": "nats per position",
        "divergence": "nats per sequence",
        "distance": "symbols",
        "dissimilarity": "fraction",
    }
    about: Mapping[str, str] = {
        "loss": "denoising cross-entropy",
        "divergence": "KL(A ‖ B)",
        "dissimilarity": "leaves that differ",
    }
    bias_onset = ("tau_neighbour", "nearest-neighbour divergence")
    quick: Mapping[str, Mapping[str, Any]] = {"attacks": {}, "advice": {}}
    grammar = staticmethod(GrammarConfig.build)

    def shape(self, data: GrammarConfig) -> dict[str, int]:
        """Leaves and symbols, and the tree above them."""
        return {
            "num_leaves": data.branching**data.depth,
            "vocab_size": data.vocab_size,
            "depth": data.depth,
            "branching": data.branching,
        }

    def splits(self, key: Key[Array, ""], run: RunConfig) -> Splits:
        """Exchangeable training sets, and independent draws to test on."""
        return make_splits(
            key,
            run.data.build(),
            num_splits=run.num_splits,
            split_size=run.split_size,
            test_size=run.test_size,
            filter_level=run.data.filter_level,
        )

    def shared(self, run: RunConfig) -> dict[str, int]:
        """Training sets depend on the number of splits only through the next power of two."""
        return {
            "num_splits": 1 << (run.num_splits - 1).bit_length(),
            "num_seeds": 1,
            "test_size": 1,
        }

    def vary(
        self, key: Key[Array, ""], data: GrammarConfig, examples: Int[np.ndarray, "n leaves"]
    ) -> Int[np.ndarray, "n leaves"]:
        """The lowest families are drawn again."""
        drawn = redraw_leaves(key, data.build(), examples, filter_level=data.filter_level)
        return np.asarray(drawn).astype(examples.dtype)

    def dtype(self, data: GrammarConfig) -> np.dtype:
        """The smallest that holds the symbols."""
        return np.dtype(symbol_dtype(data.vocab_size))

    def clean(
        self, data: GrammarConfig, examples: Int[np.ndarray, "... leaves"]
    ) -> Float[Array, "... leaves vocab"]:
        """One-hot symbols."""
        return one_hot(examples, data.vocab_size)

    def prediction(
        self, network: Any, params: Any, x_t: Float[Array, "... leaves vocab"], t: Array
    ) -> Float[Array, "... leaves vocab"]:
        """Log-probabilities of symbols."""
        return jax.nn.log_softmax(apply(network, params, x_t, jnp.asarray(t)))

    def prediction_of(
        self,
        output: Float[Array, "... leaves vocab"],
        schedule: Schedule,
        x_t: Float[Array, "... leaves vocab"],
        t: Array,
    ) -> Float[Array, "... leaves vocab"]:
        """What a denoiser says."""
        return output

    def target(
        self, examples: Int[np.ndarray, "... leaves"], noise: Float[Array, "... leaves vocab"]
    ) -> Int[Array, "... leaves"]:
        """The symbols before noising."""
        return jnp.broadcast_to(jnp.asarray(examples, jnp.int32), noise.shape[:-1])

    def loss(
        self, prediction: Float[Array, "... leaves vocab"], target: Int[Array, "... leaves"]
    ) -> Float[Array, "..."]:
        """Cross-entropy, mean over positions."""
        return denoising_loss(prediction, target)

    def distillation(
        self, exact: Float[Array, "... leaves vocab"], prediction: Float[Array, "... leaves vocab"]
    ) -> Float[Array, "..."]:
        """KL(exact ‖ prediction), mean over positions."""
        return kl_divergence(exact, prediction) / exact.shape[-2]

    def divergence(
        self, first: Float[Array, "... leaves vocab"], second: Float[Array, "... leaves vocab"]
    ) -> Float[Array, "..."]:
        """KL(first ‖ second), sum over positions."""
        return kl_divergence(first, second)

    def dissimilarity(
        self, first: Int[np.ndarray, "n leaves"], second: Int[np.ndarray, "n leaves"]
    ) -> Float[np.ndarray, " n"]:
        """Share of leaves that differ."""
        return (first != second).mean(-1)

    def exact(self, run: RunConfig) -> Denoiser:
        """Belief propagation, filtered as the data are."""
        level = run.data.filter_level
        return exact_denoiser(run.data.build(), run.schedule, filter_level=level)

    def oracles(self, run: RunConfig) -> Sequence[Denoiser]:
        """The denoisers of all filter levels, 0 … depth."""
        grammar = run.data.build()
        return [
            exact_denoiser(grammar, run.schedule, filter_level=level)
            for level in range(grammar.depth + 1)
        ]

    def oracle_extras(self) -> Mapping[str, Any]:
        """The mass that a network rules out."""
        about = f"mass of the filtered-k denoiser where the model is below {CLIP:g}"
        return {"model_oracle_unsupported": ("positions", about, unsupported_mass)}

    def references(self, run: RunConfig) -> Mapping[str, Reference]:
        """The floor of the loss."""
        about = "denoising cross-entropy of the exact denoiser on the same noisy inputs"
        exact = self.exact(run)
        return {"loss_floor": Reference(about, lambda train: exact)}

    def endless(self, run: RunConfig) -> FreshData:
        """Sequences from the grammar at every step."""
        data = run.data
        return draw_fresh(data.build(), run.split_size, filter_level=data.filter_level)

    def fresh(self, key: Key[Array, ""], run: RunConfig, count: int) -> np.ndarray:
        """Sequences from the grammar."""
        data = run.data
        leaves = sample_leaves(key, data.build(), count, filter_level=data.filter_level)
        return np.asarray(leaves, self.dtype(data))

    def overlap(self, splits: Any) -> Measurements:
        """How much of the test set, which is drawn from the law, was trained on."""
        found = splits.test_in_train
        about = f"test sequences, of {len(splits.test)}, that are also in the training split"
        share = found / len(splits.test)
        return {
            "test_in_train": Measurement(found, ("split",), "sequences", about),
            "test_share_in_train": Measurement(share, ("split",), "fraction", about),
        }

    def comparison(
        self, key: Key[Array, ""], run: RunConfig, settings: Any, splits: Any, count: int
    ) -> Comparison:
        """Copies, the nearest-neighbour divergence, derivable samples and reproduced blocks."""
        return comparison(self, key, run, settings, splits.train, count)

    def describe(self, run: RunConfig) -> str:
        """The grammar's kind and size."""
        data = run.data
        filtered = f", filter level {data.filter_level}" if data.filter_level else ""
        return f"{data.kind} grammar of depth {data.depth}{filtered}"


WORLD = GrammarWorld()
