"""Training that asks for advice at every checkpoint, and stops when it is told to.

It calls ``train_run`` for one checkpoint after another; each call goes on where the last stopped.
"""

from pathlib import Path

import numpy as np

from experiments import configs
from experiments.runs.data import epochs_of, make_data, run_key
from experiments.runs.members import checkpoints_of
from experiments.runs.training import open_run, train_run
from experiments.stages import advice
from experiments.stages.generation import generate
from experiments.store import Measurements, stack
from hiermodel.checks import require
from hiermodel.measures.advisor import Advice


def train_advised(
    config: configs.RunConfig,
    settings: advice.AdviceConfig,
    root: Path | str,
    *,
    num_samples: int = 1000,
    until: tuple[str, ...] = ("biased", "past the test minimum"),
    progress: bool = True,
) -> list[Advice]:
    """Train a run until the advisor speaks up about any pair of its networks, or to its end.

    Args:
        config: the run, of at least two splits.
        settings: what the advisor looks at.
        root: where run folders are.
        num_samples: sequences per network and checkpoint.
        until: verdicts to stop at.
        progress: show progress bars.

    Returns:
        The last advice on each pair of networks.

    Raises:
        ValueError: for a single split.
        MembersFailedError: if the loss of some networks is not finite.
        Stopped: after saving, if a signal asks to stop.
    """
    require(config.num_splits > 1, "num_splits", config.num_splits, "at least 2 for advice")
    run, splits, epochs = open_run(config, root), make_data(config), epochs_of(config)
    looks: list[Measurements] = []
    samples: list[np.ndarray] = []
    said: list[Advice] = []
    for number, epoch in enumerate(epochs[1:], 1):
        train_run(config, root, until=epoch, progress=progress)
        params = checkpoints_of(config, run).load_params(epoch)
        key = run_key(config, "samples")
        samples.append(generate(key, config, params, num_samples))
        looks.append(advice.look(config, settings, splits, params, samples[-1]))
        values = {name: each.values for name, each in stack(looks, "look").items()}
        values["epoch"] = np.array(epochs[1 : number + 1])
        planned = len(epochs) - 1
        said = advice.advise(config, settings, splits, values, np.stack(samples), planned)
        if any(each.verdict in until for each in said):
            break
    return said
