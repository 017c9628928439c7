"""A study of runs on images, from TOML; its results are in ``images/test_image_stages.py``."""

import pytest

from experiments.images.configs import ImageRunConfig
from experiments.study.files import from_toml

TEXT = """
question = "does the size of the training set matter?"
against = ["split_size"]

[base]
type = "ImageRunConfig"
num_splits = 2
num_seeds = 2
test_size = 12
num_steps = 40
first_checkpoint = 1
num_checkpoints = 4

[base.data]

[base.network]
height = 1
width = 1
base_width = 4
multipliers = [1]
num_res_blocks = 1
num_groups = 2

[base.training]
num_epochs = 8
batch_size = 8
learning_rate = 0.01

[[axes]]
path = "split_size"
values = [8]

[measures.evaluation]
num_images = 8

[measures.comparison]
num_samples = 4
"""


@pytest.fixture(scope="module")
def study():
    return from_toml(TEXT, "pictures")


def test_a_file_of_images_is_a_path():
    text = TEXT.replace("[base.data]", '[base.data]\nsource="file"\nchecksum="x"\nfile="no.npy"')
    made = from_toml(text)
    assert made.base.data.file.name == "no.npy"
    with pytest.raises(ValueError, match="--images"):
        made.runs()


def test_networks_see_the_size_of_the_images(study):
    (run,) = study.runs()
    assert isinstance(run, ImageRunConfig)
    assert (run.network.height, run.network.width, run.network.channels) == (8, 8, 1)
