"""The evaluation card of a finished run: ``python -m experiments card RUN``.

It is made of what has been measured. Attacks and advice, if they have not been, are computed from
the checkpoints and samples there are; everything else that is missing is named.
"""

import dataclasses
import importlib
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import command, configs, runtime, store
from experiments.cards import grammar as grammar_card
from experiments.cards import images as image_card
from experiments.cards.card import Card
from experiments.images.configs import ImageRunConfig
from experiments.images.files import prepare_images
from experiments.onsets import ensemble, find_onsets
from experiments.store import Measurements, RunFolder
from experiments.train import checkpoints_of, epochs_of
from hiermodel.checks import require


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a one-page card, card.html and card.json, about a run.

    Attributes:
        run: a run folder, or the first letters of one's name under the root.
        root: where run folders are.
        out: where to write the card; the run folder if left out.
        images: pictures of a run on images of the user's own, as they were given for training.
        compute: compute attacks and advice if they are missing.
    """

    run: Annotated[str, tyro.conf.Positional]
    root: Path = Path("runs")
    out: Path | None = None
    images: Path | None = None
    compute: bool = True


def main(arguments: Arguments) -> Path:
    """Make the card; returns the page."""
    run = find_run(arguments.run, arguments.root)
    config = config_of(run)
    if arguments.images is not None and isinstance(config, ImageRunConfig):
        file, _ = prepare_images(arguments.images, arguments.root / "images")
        data = dataclasses.replace(config.data, file=file)
        config = dataclasses.replace(config, data=data)
    card = audit(run, config, compute=arguments.compute)
    return importlib.import_module("figures.card").write(card.to_json(), arguments.out or run.path)


def find_run(name: str, root: Path) -> RunFolder:
    """The one run folder that is meant.

    Raises:
        ValueError: if there is none, or several.
    """
    folders = [Path(name)] if Path(name, "config.json").exists() else []
    folders = folders or [path.parent for path in root.glob(f"{name}*/config.json")]
    allowed = f"a run folder, or the beginning of the name of one in {root}"
    require(len(folders) == 1, "run", name, f"{allowed}; found {[str(path) for path in folders]}")
    return RunFolder(folders[0])


def config_of(run: RunFolder) -> configs.AnyRunConfig:
    """The configuration that a folder was made for.

    Raises:
        ValueError: if it is of no run that is known.
    """
    config = configs.from_json(store.read_json(run.config_file).get("config"))
    require(type(config) in (configs.RunConfig, ImageRunConfig), "run", run.path, "a run's folder")
    return config


def finished(run: RunFolder) -> dict[str, Measurements]:
    """The newest result of every stage."""
    files = sorted(run.path.glob("measurements/*.npz"), key=lambda path: path.stat().st_mtime)
    return {path.stem.rpartition("-")[0]: store.load_measurements(path) for path in files}


def audit(
    run: RunFolder, config: configs.AnyRunConfig | None = None, *, compute: bool = True
) -> Card:
    """Fill in the card from what is finished, and compute what is cheap.

    Args:
        run: the run's folder.
        config: of the run, if more is known than the folder says: where its images are.
        compute: attacks and advice, if they are not measured.
    """
    config, results = config or config_of(run), finished(run)
    results["ensemble"] = ensemble(config.num_splits, config.num_seeds)
    if "evaluation" in results:
        compared = results.get("comparison", {})
        results["onsets"] = find_onsets(results["evaluation"], compared)
    kind: Any = image_card if isinstance(config, ImageRunConfig) else grammar_card
    if compute and "samples" in results and checkpoints_of(config, run).complete(epochs_of(config)):
        results = {**kind.compute(config, run, results), **results}
    return kind.fill_in(config, run, results)


def write_card(arguments: Arguments) -> None:
    """Make the card, and say where it is."""
    command.check_folder("out", arguments.out)
    runtime.prepare(arguments.root)
    print(main(arguments))
