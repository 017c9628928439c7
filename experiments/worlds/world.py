"""What a data world is: where examples come from, and how networks on them are judged.

A new world is a new file in this folder. It holds a frozen dataclass, which a run has as its
``data``, and a ``WORLD`` that answers the questions of ``World``; no other file names it. The
answers given here are for data that are real numbers with an unknown law, and for networks that
predict the noise.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from experiments.configs import RunConfig
from experiments.store import Measurements
from hiermodel.diffusion.denoiser import AnyDenoiser
from hiermodel.diffusion.schedule import Schedule
from hiermodel.grammar.rules import Grammar
from hiermodel.measures import agreement
from hiermodel.measures.neighbours import Metric, nearest_images, nearest_neighbours
from hiermodel.networks.network import apply
from hiermodel.training.data import FreshData

Examples = Num[np.ndarray, "n ..."]
"""Clean data: symbols (n, num_leaves), or reals (n, points, channels)."""


class Splits(Protocol):
    """The data of a run.

    Attributes:
        train: (num_splits, split_size, ...) training sets, no example twice in all of them.
        test: (test_size, ...).
        unseen: those of the test set that are in no training set.
    """

    @property
    def train(self) -> np.ndarray:
        """Training sets."""
        ...

    @property
    def test(self) -> np.ndarray:
        """Test set."""
        ...

    @property
    def unseen(self) -> np.ndarray:
        """Test examples in no training set."""
        ...


@dataclasses.dataclass(frozen=True)
class Reference:
    """A denoiser whose loss is measured beside that of the networks.

    Attributes:
        definition: what its loss is.
        of: the denoiser, from a training set.
    """

    definition: str
    of: Callable[[Examples], AnyDenoiser]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a world measures of samples, beside what is measured in every world.

    Attributes:
        measure: from samples (member, sample, ...) and the distance of each to the nearest example
            of its own training set (member, sample).
        constant: what is the same at all checkpoints.
    """

    measure: Callable[[np.ndarray, np.ndarray], Measurements]
    constant: Measurements = dataclasses.field(default_factory=dict)


class World(Protocol):
    """One kind of data.

    Attributes:
        config: type of a run's ``data`` in this world.
        metric: of distances between examples: "hamming" for symbols, "euclidean" for reals.
        examples: what the data are examples of, in the plural; and the name of samples.
        axes: of one example.
        units: of "value" (a drawn number), "loss", "divergence", "distance" and "dissimilarity".
        about: what "loss" and "divergence" are, in words.
        bias_onset: the onset at which bias sets in, and the curve that has its minimum there.
        quick: settings of attacks and advice when a card computes them anew, by stage.
        grammar: from a configuration of data to the grammar that yields them; None if none does.
    """

    config: type
    metric: Metric = "euclidean"
    examples: str
    axes: tuple[str, ...]
    units: Mapping[str, str] = {
        "value": "1",
        "loss": "squared error",
        "divergence": "1 − cosine",
        "distance": "1",
        "dissimilarity": "1 − cosine",
    }
    about: Mapping[str, str] = {
        "loss": "denoising loss, of the predicted noise",
        "divergence": "1 − cosine of the noises that A and B predict",
        "dissimilarity": "1 − cosine of both, each standardised",
    }
    bias_onset: tuple[str, str] = ("tau_pair", "dissimilarity of paired samples")
    quick: Mapping[str, Mapping[str, Any]] = {
        "attacks": {"num_examples": 1000, "num_noises": 4},
        "advice": {"num_examples": 200, "num_noises": 2},
    }
    grammar: Callable[[Any], Grammar] | None = None

    # Data

    def shape(self, data: Any) -> dict[str, int]:
        """What a network must know of its data's size: fields of these names are set to it."""
        ...

    def splits(self, key: Key[Array, ""], run: RunConfig) -> Splits:
        """The run's data; they depend on nothing but the key and the run."""
        ...

    def shared(self, run: RunConfig) -> dict[str, int]:
        """Settings that do not change a single network, each with the value that replaces it."""
        ...

    def as_drawn(self, splits: Splits) -> Splits:
        """The data laid out as samples are."""
        return splits

    def vary(self, key: Key[Array, ""], data: Any, examples: Examples) -> Examples | None:
        """Every example changed in a way that keeps the law of the data; None if none is known."""
        return None

    def dtype(self, data: Any) -> np.dtype:
        """Of samples."""
        return np.dtype(np.float32)

    def clean(self, data: Any, examples: Examples) -> Float[Array, "... _ _"]:
        """What noise is added to, from examples laid out as samples are."""
        return jnp.asarray(examples)

    # Networks

    def prediction(
        self, network: Any, params: Any, x_t: Float[Array, "... _ _"], t: Array
    ) -> Float[Array, "... _ _"]:
        """What a network says of x_t, as ``loss`` and ``divergence`` take it; for compiled code."""
        return apply(network, params, x_t, t)

    def prediction_of(
        self, output: Array, schedule: Schedule, x_t: Float[Array, "... _ _"], t: Array
    ) -> Float[Array, "... _ _"]:
        """The same from the output of any denoiser at x_t: the noise, if that is the mean."""
        signal = jnp.sqrt(schedule.alpha_bar[t]).astype(x_t.dtype)[..., None, None]
        spread = jnp.sqrt(schedule.noise_variance[t]).astype(x_t.dtype)[..., None, None]
        return (x_t - signal * output) / spread

    def target(self, examples: Examples, noise: Float[Array, "... _ _"]) -> Array:
        """What is predicted, given the clean examples and the noise that was added to them."""
        return noise

    def loss(self, prediction: Array, target: Array) -> Float[Array, "..."]:
        """How wrong a prediction is, for every example."""
        return jnp.square(prediction - target).mean((-2, -1))

    def distillation(self, exact: Array, prediction: Array) -> Float[Array, "..."]:
        """What a prediction's loss is above its floor, in expectation over the clean examples."""
        return self.loss(prediction, exact)

    def divergence(self, first: Array, second: Array) -> Float[Array, "..."]:
        """How far the second prediction is from the first, for every example."""
        return jnp.maximum(1 - agreement.noise_cosine(first, second), 0)

    # Samples

    def distance(self, queries: Examples, references: Examples) -> np.ndarray:
        """Distance of every query to the nearest reference."""
        nearest = nearest_neighbours if self.metric == "hamming" else nearest_images
        return np.asarray(nearest(queries, references).distance)

    def dissimilarity(self, first: Examples, second: Examples) -> np.ndarray:
        """How unlike the examples of each pair are, in 0…2."""
        return np.asarray(agreement.dissimilarity(first, second))

    # What is known of the law; None or nothing where it is unknown

    def exact(self, run: RunConfig) -> AnyDenoiser | None:
        """The exact denoiser of the data's law."""
        return None

    def oracles(self, run: RunConfig) -> Sequence[AnyDenoiser]:
        """Denoisers that know the law ever less well, the exact one first: the axis "level"."""
        return ()

    def oracle_extras(self) -> Mapping[str, tuple[str, str, Callable[[Array, Array], Array]]]:
        """Units, definition and function of what else is measured of a network and an oracle."""
        return {}

    def references(self, run: RunConfig) -> Mapping[str, Reference]:
        """Denoisers whose losses are measured beside those of networks, by the losses' names."""
        return {}

    def endless(self, run: RunConfig) -> FreshData | None:
        """Training data that are drawn anew at every step; None if the law is not known."""
        return None

    def fresh(self, key: Key[Array, ""], run: RunConfig, count: int) -> Examples | None:
        """Examples drawn from the law."""
        return None

    def overlap(self, splits: Splits) -> Measurements:
        """How much of the test set is in the training sets."""
        return {}

    def comparison(
        self, key: Key[Array, ""], run: RunConfig, settings: Any, splits: Splits, count: int
    ) -> Comparison:
        """What else is measured of ``count`` samples per network (``stages.generation``)."""
        return Comparison(lambda samples, distance: {})

    # Words and places

    def with_files(
        self, run: RunConfig, path: Path, root: Path, *, progress: bool = True
    ) -> RunConfig:
        """The same run on the user's own files (``--images``); itself, if it takes none."""
        return run

    def label(self, run: RunConfig) -> str:
        """What tells a run from others in a figure or statement."""
        return "n = ∞" if run.fresh else f"n = {run.split_size}"

    def describe(self, run: RunConfig) -> str:
        """What the data are, in a line."""
        ...

    def missing(self, data: Any) -> str | None:
        """What is needed to make the data, if they cannot be made as things are."""
        return None
