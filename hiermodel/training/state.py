"""What is trained and how: settings, the state of an ensemble, its keys and its rate."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from hiermodel.checks import check_integer, check_key, require
from hiermodel.diffusion.process import Process
from hiermodel.networks.network import MatmulPrecision, Network, Params, init_params
from hiermodel.networks.targets import LossName
from hiermodel.random_bits import threefry_key
from hiermodel.training.privacy import PrivacyConfig

OPTIMISER = optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8)


OMIT_DEFAULT = {"omit_default": True}
"""Metadata of settings that came later: at their default they are left out of a run's identity."""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How each network is trained; the defaults are the paper's (science.md#loss-and-rates).

    An epoch is one pass over the n sequences of a split; epochs are counted from 0.

    Attributes:
        num_epochs: length of training, which the rate depends on.
        batch_size: sequences per step; the last batch of an epoch holds what is left.
        learning_rate: Adam's rate before the factor below.
        rate_schedule: "paper", factor 1 → ``decay_factor`` linearly over ``decay_epochs``, then
            cosine to ``final_factor`` at ``num_epochs``; "cosine", 1 → ``final_factor``;
            "constant", 1.
        decay_epochs: length in epochs of the linear part.
        decay_factor: rate factor at its end.
        final_factor: rate factor at ``num_epochs``, and after it.
        loss: "cross_entropy" or "squared_error".
        step_weighting: "uniform", "variational" for the weights of the variational bound, or
            "outside_window" for less weight in ``weight_window``.
        compute_dtype: of the matrix products in the blocks while training: "parameters", theirs;
            or "bfloat16", with parameters, sums, norms, softmax, loss and Adam as they are.
            Trained networks are evaluated in the dtype of their parameters either way.
        matmul_precision: of products of float32 numbers while training: "highest", float32 itself;
            "high", TF32 on CUDA and three bfloat16 passes on TPU. Trained networks are evaluated
            at the highest either way.
        micro_batch_size: sequences per forward and backward pass, whose gradients are added up to
            the batch's, for batches that do not fit into memory; None for the whole batch at once.
        remat: compute the inside of each block again in the backward pass rather than keep it.
        weight_decay: pull of all parameters to zero: each step takes rate × ``weight_decay`` of
            them away, besides Adam's update (AdamW: Loshchilov and Hutter, arXiv:1711.05101).
        ema_decays: of running averages of the parameters, the share that each keeps at each step
            (less in the first steps: ``running_averages``); none by default. Averages are saved
            beside the parameters; what is trained does not depend on them.
        weight_window: first and last t/T of the window; None if there is none.
        window_weight: weight inside it relative to outside; over all steps the mean stays 1.
        privacy: train by DP-SGD (``hiermodel.training.privacy``), in batches of random size about
            ``batch_size``; None for ordinary training. ``micro_batch_size`` is then the number of
            rows whose gradients are held at a time, by default a quarter of the batch's.

    Raises:
        ValueError: for any value outside these.

    Example:
        >>> training = hm.training.TrainingConfig(num_epochs=10, rate_schedule="constant",
        ...                                       ema_decays=(0.998,))
        >>> training.batch_size
        512
    """

    num_epochs: int
    batch_size: int = 512
    learning_rate: float = 3e-4
    rate_schedule: Literal["paper", "cosine", "constant"] = "paper"
    decay_epochs: int = 50
    decay_factor: float = 0.5
    final_factor: float = 0.1
    loss: LossName = "cross_entropy"
    step_weighting: Literal["uniform", "variational", "outside_window"] = "uniform"
    compute_dtype: Literal["parameters", "bfloat16"] = "parameters"
    micro_batch_size: int | None = None
    remat: bool = False
    matmul_precision: MatmulPrecision = dataclasses.field(default="highest", metadata=OMIT_DEFAULT)
    weight_decay: float = dataclasses.field(default=0.0, metadata=OMIT_DEFAULT)
    ema_decays: tuple[float, ...] = dataclasses.field(default=(), metadata=OMIT_DEFAULT)
    weight_window: tuple[float, float] | None = dataclasses.field(
        default=None, metadata=OMIT_DEFAULT
    )
    window_weight: float = dataclasses.field(default=0.1, metadata=OMIT_DEFAULT)
    privacy: PrivacyConfig | None = dataclasses.field(default=None, metadata=OMIT_DEFAULT)

    def __post_init__(self):
        check_integer("num_epochs", self.num_epochs, 1)
        check_integer("batch_size", self.batch_size, 1)
        check_integer("decay_epochs", self.decay_epochs, 1)
        if self.micro_batch_size is not None:
            check_integer("micro_batch_size", self.micro_batch_size, 1)
        for name in ("learning_rate", "decay_factor", "final_factor"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "positive and finite")
        for name, allowed in (
            ("rate_schedule", ("paper", "cosine", "constant")),
            ("loss", ("cross_entropy", "squared_error")),
            ("step_weighting", ("uniform", "variational", "outside_window")),
            ("compute_dtype", ("parameters", "bfloat16")),
            ("matmul_precision", ("highest", "high")),
        ):
            require(getattr(self, name) in allowed, name, getattr(self, name), f"one of {allowed}")
        self._check_mitigations()

    @property
    def rows_at_once(self) -> int:
        """Rows of a batch in one forward and backward pass, on one device."""
        whole = self.batch_size if self.privacy is None else -(-self.batch_size // 4)
        return self.micro_batch_size or whole

    def _check_mitigations(self) -> None:
        decay = self.weight_decay
        require(0 <= decay < math.inf, "weight_decay", decay, "at least 0 and finite")
        averages = self.ema_decays
        shares = all(0 <= each < 1 for each in averages) and len(set(averages)) == len(averages)
        require(shares, "ema_decays", averages, "different numbers, at least 0 and below 1")
        inside, window = self.window_weight, self.weight_window
        require(0 <= inside < math.inf, "window_weight", inside, "at least 0 and finite")
        if self.step_weighting == "outside_window":
            fits = window is not None and 0 <= window[0] <= window[1] <= 1
            fits = fits and (inside > 0 or window != (0, 1))
            require(fits, "weight_window", window, "two increasing numbers in 0…1, not all of it")
        else:
            only = "None unless step_weighting is 'outside_window'"
            require(window is None, "weight_window", window, only)


class MemberSettings(NamedTuple):
    """Settings in which the members of an ensemble differ, instead of those of its config.

    Attributes:
        learning_rate: float32, Adam's rate before its factor; None where all have the config's.
        dropout: float32, rate of dropout; None likewise.
        weight_decay: float32; None likewise.
    """

    learning_rate: Float[Array, "..."] | None = None
    dropout: Float[Array, "..."] | None = None
    weight_decay: Float[Array, "..."] | None = None


ALL_ALIKE = MemberSettings()
"""Every member has the settings of its ensemble."""


def learning_rate(
    config: TrainingConfig,
    epoch: Int[Array, ""] | int,
    base: Float[Array, "..."] | float | None = None,
) -> Float[Array, "..."]:
    """Adam's rate throughout an epoch (counted from 0), in float32.

    Args:
        config: says how the rate changes.
        epoch: counted from 0.
        base: rate before the factor; None for the config's.
    """
    base = config.learning_rate if base is None else base
    epoch = jnp.asarray(epoch, jnp.float32)
    if config.rate_schedule == "constant":
        return jnp.full_like(epoch, base)
    paper = config.rate_schedule == "paper"
    first, top = (config.decay_epochs, config.decay_factor) if paper else (0, 1.0)
    progress = jnp.clip((epoch - first) / max(config.num_epochs - first, 1), 0, 1)
    bottom = config.final_factor
    factor = bottom + (top - bottom) * (1 + jnp.cos(jnp.pi * progress)) / 2
    if paper:
        linear = 1 - (1 - top) * epoch / first
        factor = jnp.where(epoch < first, linear, factor)
    return base * factor


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """All that training changes, and the key it draws from. Members lie along a leading axis.

    Attributes:
        params: parameters by name.
        opt_state: Adam's moments and step count.
        epoch: int32 number of epochs done.
        key: the member's own; never changed: what an epoch draws depends on key and epoch alone.
        averages: running averages of the parameters, by the decay's decimal digits.
    """

    params: Params
    opt_state: Any
    epoch: Int[Array, "..."]
    key: Key[Array, "..."]
    averages: dict[str, Params] = dataclasses.field(default_factory=dict)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Networks alike but for their data and seed: one member per split and seed.

    Member ``split * num_seeds + seed`` trains on split ``split``.

    Attributes:
        network: shape of every member.
        training: how each is trained.
        schedule: the noise.
        num_splits: number of disjoint training sets.
        num_seeds: number of members per split.
        own: settings in which members differ, each an array (members,).

    Example:
        >>> training = hm.training.TrainingConfig(num_epochs=10)
        >>> hm.training.Ensemble(network, training, schedule, num_splits=2).num_seeds
        1
    """

    network: Network = dataclasses.field(metadata={"static": True})
    training: TrainingConfig = dataclasses.field(metadata={"static": True})
    schedule: Process
    num_splits: int = dataclasses.field(default=1, metadata={"static": True})
    num_seeds: int = dataclasses.field(default=1, metadata={"static": True})
    own: MemberSettings = ALL_ALIKE

    def __post_init__(self):
        check_integer("num_splits", self.num_splits, 1)
        check_integer("num_seeds", self.num_seeds, 1)

    @property
    def num_members(self) -> int:
        """Number of networks."""
        return self.num_splits * self.num_seeds

    def member(self, split: int, seed: int) -> int:
        """Place of a member on the leading axis.

        Raises:
            ValueError: if there is no such split or seed.
        """
        split = check_integer("split", split, 0, self.num_splits - 1)
        return split * self.num_seeds + check_integer("seed", seed, 0, self.num_seeds - 1)


def member_key(key: Key[Array, ""], split: int | Array, seed: int | Array) -> Key[Array, ""]:
    """A member's key, of Threefry: the same however many splits and seeds stand beside it."""
    return jax.random.fold_in(jax.random.fold_in(threefry_key(key), split), seed)


def init_member(
    key: Key[Array, ""],
    network: Network,
    dtype: DTypeLike = jnp.float32,
    *,
    decays: tuple[float, ...] = (),
) -> TrainState:
    """One untrained member from its own key, with running averages of these decays."""
    params_key, training_key = jax.random.split(threefry_key(key))
    params = init_params(params_key, network, dtype)
    epoch = jnp.zeros((), jnp.int32)
    averages = {str(decay): jax.tree.map(jnp.copy, params) for decay in decays}
    return TrainState(params, OPTIMISER.init(params), epoch, training_key, averages)


def running_averages(
    averages: dict[str, Params], params: Params, steps: Int[Array, ""]
) -> dict[str, Params]:
    """One step of the averages: ``decay`` of each stays, the rest comes from the parameters.

    After n steps no more than (1 + n) / (10 + n) stays, so that the untrained parameters are soon
    forgotten however slow the decay is.

    Args:
        averages: by their decay.
        params: the parameters.
        steps: how many were made, this one included.
    """
    warm = (1 + steps) / (10 + steps)

    def step(decay: float, average: Params) -> Params:
        stays = jnp.minimum(decay, warm)
        return jax.tree.map(lambda a, p: a + (1 - stays).astype(p.dtype) * (p - a), average, params)

    return {decay: step(float(decay), average) for decay, average in averages.items()}


def init_ensemble(
    key: Key[Array, ""], ensemble: Ensemble, dtype: DTypeLike = jnp.float32
) -> TrainState:
    """All members, untrained, stacked on a leading axis.

    Args:
        key: one typed key, from which every member's follows (``member_key``).
        ensemble: what to train.
        dtype: of the parameters, and so of the arithmetic.

    Raises:
        ValueError: if ``key`` is not a typed key.
    """
    check_key(key)
    splits, seeds = jnp.divmod(jnp.arange(ensemble.num_members), ensemble.num_seeds)
    keys = jax.vmap(member_key, in_axes=(None, 0, 0))(key, splits, seeds)
    decays = ensemble.training.ema_decays
    return jax.vmap(lambda one: init_member(one, ensemble.network, dtype, decays=decays))(keys)
