"""A study of runs on images; its results are in ``worlds/test_image_stages.py``."""

from pathlib import Path

import pytest

from experiments.configs import RunConfig
from experiments.stages.evaluation import EvaluationConfig
from experiments.study import Grid, Study
from experiments.worlds.images import ImageDataConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.training.state import TrainingConfig


def study(data: ImageDataConfig) -> Study:
    base = RunConfig(
        data,
        UNetConfig(4, 4, base_width=4, multipliers=(1,), num_groups=2),
        TrainingConfig(8, 8, 0.01),
    )
    measures = {"evaluation": EvaluationConfig(num_examples=8)}
    return Study("pictures", "does size matter?", base, (Grid("split_size", (8,)),), measures)


def test_images_that_are_not_there_are_named():
    made = study(ImageDataConfig("file", "x", Path("no.npy")))
    with pytest.raises(ValueError, match="--images"):
        made.runs()


def test_networks_see_the_size_of_the_images():
    (run,) = study(ImageDataConfig()).runs()
    assert isinstance(run, RunConfig)
    assert (run.network.height, run.network.width, run.network.channels) == (8, 8, 1)
