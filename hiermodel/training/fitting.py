"""Train any network in memory: one call from sequences to a denoiser."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, Num
from tqdm import tqdm

from hiermodel.checks import check_integer, is_typed_key, require
from hiermodel.diffusion.process import Process
from hiermodel.networks.learned import Losses
from hiermodel.networks.modules import from_module
from hiermodel.networks.network import Network, check_network
from hiermodel.networks.targets import SymbolLogits
from hiermodel.random_bits import threefry_key
from hiermodel.training.chunks import not_finite
from hiermodel.training.data import FreshData, as_data, check_private
from hiermodel.training.epochs import num_batches, place_members, train_steps
from hiermodel.training.state import Ensemble, TrainingConfig, TrainState, init_member

POINTS = 100
"""Points of the curve of losses; at each, training comes back to the host."""


@dataclasses.dataclass(frozen=True)
class FitProgress:
    """How far a training has come, as its callback is told.

    Attributes:
        step: steps done.
        num_steps: steps asked for.
        loss: mean training loss since the last call, over all networks that are trained.
        steps_per_second: of all of them together, since the last call.
        seconds_left: to the last step, at this rate.
        denoisers: call it for what ``fit`` would return now.

    Example:
        >>> seen = []
        >>> _ = hm.fit(key, network, leaves, schedule, num_steps=2, batch_size=8,
        ...            learning_rate=1e-3, callback=seen.append)
        >>> (seen[-1].step, seen[-1].num_steps)
        (2, 2)
    """

    step: int
    num_steps: int
    loss: float
    steps_per_second: float
    seconds_left: float
    denoisers: Callable[[], Any]


Callback = Callable[[FitProgress], Any]
"""Told of the progress; True ends the training."""


def fit(
    key: Key[Array, "..."],
    network: Any,
    sequences: Num[Array | np.ndarray, "..."] | FreshData,
    process: Process,
    *,
    num_steps: int,
    batch_size: int,
    learning_rate: float,
    callback: Callback | None = None,
    vocab_size: int | None = None,
    points: int = POINTS,
    progress: bool = True,
    **settings: Any,
) -> Any:
    """Train a network to denoise, in memory; several training sets or seeds at once.

    The same key gives the same network to the last bit on the same machine, however many others
    are trained beside it and whatever ``points`` and ``callback`` are. Training stops early where
    the callback says so: with :func:`hiermodel.advise_stop` on two networks of disjoint halves,
    whose denoisers the callback is given (see the example). Rates are constant unless
    ``settings`` say otherwise.

    Args:
        key: one typed key; or an array of them, for one network per key and training set.
        network: any ``Network``; or a Flax NNX module with ``__call__(x_t, t)``, or a function of
            ``nnx.Rngs`` that makes one, which gives logits of the symbols
            (:func:`hiermodel.networks.from_module`).
        sequences: (n, num_leaves) symbols, or (n, height, width, channels) images for a network of
            images; with one more axis in front, several training sets. Or ``fresh`` data.
        process: the noise: a Schedule or, for symbols, a DiscreteProcess or one's own.
        num_steps: steps of Adam.
        batch_size: sequences per step; the last of a pass over the data holds what is left.
        learning_rate: Adam's rate.
        callback: called ``points`` times with a :class:`FitProgress`; if it returns True, training
            ends there.
        vocab_size: number of symbols, for a module that has no attribute of this name and a
            process that has none.
        points: of the curve of losses.
        progress: show a progress bar; off in any case where the output is no terminal.
        settings: others of :class:`hiermodel.training.TrainingConfig`; with ``ema_decays``, the
            running average of the smallest is what is returned.

    Returns:
        A Denoiser with its training as ``.losses``, a MeanDenoiser for images. For several training
        sets a list of them, for several keys a list of them, for both a list per training set. The
        network of key k and set i is that of ``fit(fold_in(k, i), network, sequences[i], …)``.

    Raises:
        ValueError: for data that are not finite, symbols out of range, a network whose output has
            not the shape of x_t (saying which came), no steps, or settings out of range.
        NotFiniteError: if the loss or its gradient is not finite, saying where.

    Example:
        >>> import jax, hiermodel as hm
        >>> grammar = hm.Grammar.random(jax.random.key(0), vocab_size=3, depth=2,
        ...                             rules_per_symbol=2)
        >>> train = hm.sample_leaves(jax.random.key(1), grammar, 32)
        >>> network = hm.networks.MLPConfig(4, 3, width=16, num_blocks=1)
        >>> denoiser = hm.fit(jax.random.key(2), network, train, hm.Schedule.linear(20),
        ...                   num_steps=20, batch_size=8, learning_rate=1e-2)
        >>> denoiser.losses.values.shape
        (20,)
    """
    num_steps = check_integer("num_steps", num_steps, 1)
    points = check_integer("points", points, 1)
    data = as_data(sequences)
    network = _as_network(network, data, process, vocab_size)
    check_network(network)
    many_sets, many_keys = data.num_axes > len(network.target.shape) + 1, _is_array_of_keys(key)
    sets = data.by_split(None) if many_sets else [sequences]
    stacked = as_data(sets[0]).stack([as_data(one) for one in sets], network.target)
    per_epoch = -(-stacked.num_rows // min(batch_size, stacked.num_rows)) if batch_size > 0 else 1
    options: dict[str, Any] = {"rate_schedule": "constant"} | settings
    training = TrainingConfig(
        num_epochs=-(-num_steps // per_epoch),
        batch_size=batch_size,
        learning_rate=learning_rate,
        **options,
    )
    check_private(training.privacy, stacked)
    keys = [
        jax.random.fold_in(threefry_key(one), number) if many_sets else one
        for number in range(len(sets))
        for one in (key if many_keys else [key])
    ]
    ensemble = Ensemble(network, training, process, len(keys))
    num_keys = len(keys) // len(sets)
    splits = jnp.repeat(jnp.arange(len(sets), dtype=jnp.int32), num_keys)
    states = _initial(jnp.stack(keys), network, training.ema_decays)
    run = _Run(ensemble, place_members(states, len(keys)), stacked, splits)

    def denoisers() -> Any:
        made = run.denoisers()
        rows = [made[start : start + num_keys] for start in range(0, len(made), num_keys)]
        flat = rows if many_keys else [row[0] for row in rows]
        return flat if many_sets else flat[0]

    interval = -(-num_steps // points)
    with tqdm(total=num_steps, unit="step", disable=None if progress else True) as bar:
        while run.step < num_steps:
            start, count = time.monotonic(), min(interval, num_steps - run.step)
            loss = run.advance(count)
            rate = count / max(time.monotonic() - start, 1e-9)
            bar.update(count)
            bar.set_postfix_str(f"loss {loss:.4f}")
            left = (num_steps - run.step) / rate
            report = FitProgress(run.step, num_steps, loss, rate * len(keys), left, denoisers)
            if callback is not None and callback(report):
                break
    return denoisers()


class _Run:
    """A training under way, in memory."""

    def __init__(self, ensemble: Ensemble, states: TrainState, data: Any, splits: Array):
        self.ensemble = ensemble
        self.states = states
        self.data = data
        self.splits = splits
        self.step = 0
        self.per_epoch = num_batches(ensemble.training, data.num_rows)
        self._steps: list[int] = []
        self._losses: list[np.ndarray] = []

    def advance(self, count: int) -> float:
        """Train some steps; their mean loss.

        Raises:
            NotFiniteError: if it, or a gradient, is not finite.
        """
        first = jnp.asarray(self.step % self.per_epoch, jnp.int32)
        self.states, stats = train_steps(
            self.ensemble, self.states, self.data, first, jnp.asarray(count, jnp.int32), self.splits
        )
        self._losses.append(np.asarray(stats.loss))  # waits for the result
        for error in not_finite(self.ensemble, stats, self.per_epoch).values():
            raise error
        self.step += count
        self._steps.append(self.step)
        return float(self._losses[-1].mean())

    def denoisers(self) -> list[Any]:
        """All networks, with their losses so far."""
        steps, losses = np.array(self._steps), np.stack(self._losses, axis=1)
        target, made = self.ensemble.network.target, []
        averages = self.states.averages
        measured = averages[min(averages, key=float)] if averages else self.states.params
        for member, values in enumerate(losses):
            # Copies: the next steps reuse the memory of the states.
            params = {name: value[member] for name, value in measured.items()}
            one = target.denoiser(self.ensemble.network, params, self.ensemble.schedule)
            made.append(dataclasses.replace(one, losses=Losses(steps, values)))
        return made


@functools.partial(jax.jit, static_argnums=(1, 2))
def _initial(keys: Key[Array, " keys"], network: Network, decays: tuple[float, ...]) -> TrainState:
    return jax.vmap(lambda key: init_member(key, network, decays=decays))(keys)


def _is_array_of_keys(key: Any) -> bool:
    require(is_typed_key(key) and key.ndim <= 1, "key", key, "one typed key, or a list of them")
    return key.ndim == 1


def _as_network(network: Any, data: Any, process: Process, vocab_size: int | None) -> Network:
    """A network as it is; a module, or what makes one, as one that gives logits of the symbols."""
    if hasattr(network, "target"):
        return network
    given = vocab_size, getattr(network, "vocab_size", None), process.vocab_size
    known = [int(one) for one in given if one is not None]
    require(bool(known), "vocab_size", vocab_size, "given: the number of symbols")
    num_leaves = getattr(network, "num_leaves", None) or data.num_leaves
    return from_module(network, SymbolLogits(num_leaves, known[0]))
