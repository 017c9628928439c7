"""The evaluation card of a finished run, from what has been measured.

Attacks and advice are computed from checkpoints and samples where they were not measured. The card
names everything else that is missing.
"""

from pathlib import Path

from experiments import configs, store
from experiments.cards import contents
from experiments.cards.card import Card
from experiments.configs import RunConfig
from experiments.onsets import with_onsets
from experiments.runs.data import epochs_of
from experiments.runs.members import checkpoints_of
from experiments.store import RunFolder
from experiments.worlds.registry import read_run, world_of
from hiermodel.checks import require


def find_run(name: str, root: Path) -> RunFolder:
    """The run folder at this path, or the one in the root with a name that begins so.

    Raises:
        ValueError: if there is none, or several.
    """
    folders = [Path(name)] if Path(name, "config.json").exists() else []
    folders = folders or [path.parent for path in root.glob(f"{name}*/config.json")]
    allowed = f"a run folder, or the beginning of the name of one in {root}"
    require(len(folders) == 1, "run", name, f"{allowed}; found {[str(path) for path in folders]}")
    return RunFolder(folders[0])


def with_files(config: RunConfig, path: Path, root: Path) -> RunConfig:
    """The run with the path to its images (``--images``).

    Raises:
        ValueError: if these are not the images that the run was trained on.
    """
    found = world_of(config).with_files(config, path, root)
    same = configs.identity(found) == configs.identity(config)
    require(same, "images", path, "what the run was trained on")
    return found


def audit(run: RunFolder, config: RunConfig | None = None, *, compute: bool = True) -> Card:
    """Fill in the card from what is finished, and compute what is cheap.

    Args:
        run: the run's folder.
        config: of the run, if more is known than the folder says: where its images are.
        compute: attacks and advice, if they are not measured.
    """
    config = config or read_run(run.config_file)
    newest = {stage: store.load_measurements(files[-1]) for stage, files in run.measured().items()}
    results = with_onsets(config, newest)
    if compute and "samples" in results and checkpoints_of(config, run).complete(epochs_of(config)):
        results = {**contents.compute(config, run, results), **results}
    return contents.fill_in(config, run, results)
