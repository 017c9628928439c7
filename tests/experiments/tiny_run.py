"""A whole run in a second or two, as a process of its own: ``tiny_run.py ROOT [PROCESSES]``."""

import sys
import time
from types import SimpleNamespace

import numpy as np

from experiments import configs, runtime, signals, store
from experiments.runs import training
from experiments.runs.data import epochs_of
from experiments.runs.members import checkpoints_of
from experiments.stages import pipeline
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.folders import FolderInUseError
from hiermodel.training.state import TrainingConfig

CONFIG = configs.RunConfig(
    data=GrammarConfig(kind="random", vocab_size=4, depth=2, rules_per_symbol=3),
    network=MLPConfig(4, 4, width=8, num_blocks=1, dropout=0.1),
    training=TrainingConfig(num_epochs=400, batch_size=8),
    split_size=8,
    test_size=4,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=5,
)


def norms(run: store.RunFolder) -> None:
    """A cheap stage: the size of each network's parameters along training."""

    def prepare():
        checkpoints = checkpoints_of(CONFIG, run)

        def at_epoch(epoch):
            time.sleep(0.1)  # long enough to be interrupted
            params = checkpoints.load_params(epoch).values()
            values = sum(np.square(p).sum(tuple(range(1, p.ndim))) for p in params)
            return {"norm": store.Measurement(np.asarray(values), ("member",), "1", "norm²")}

        return pipeline.Recipe(at_epoch)

    file = run.measurement_file("norms", configs.identity(CONFIG))
    context = SimpleNamespace(run=run, file=lambda name: file)
    plan = pipeline.along_checkpoints(epochs_of(CONFIG), prepare)
    pipeline.make(context, "norms", plan, progress=False)


def main(root: str, processes: str = "1") -> None:
    signals.install()
    runtime.CACHE_SECONDS = 0.0  # even the smallest program is kept
    training.POLL_SECONDS = 0.1
    runtime.prepare(root)
    try:
        training.train_run(CONFIG, root, shares=int(processes), progress=False)
        norms(training.open_run(CONFIG, root))
    except FolderInUseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
