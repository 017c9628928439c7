"""A study of runs on images: from TOML to rows and a report."""

import numpy as np
import pytest

from experiments import store
from experiments.images.configs import ImageRunConfig
from experiments.study.files import from_toml
from experiments.study.runner import run_study
from figures import study_report

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


def test_rows_hold_what_the_measurements_hold(study, tmp_path):
    run_study(study, tmp_path, progress=False)
    rows = store.load(study, tmp_path)
    assert len(rows) == 4
    results = study.kind.load(study.runs()[0], study.measures, tmp_path)
    onsets = results["onsets"]
    np.testing.assert_array_equal(rows["tau_test"], onsets["tau_test"].values)
    np.testing.assert_array_equal(rows["tau_bias"][:2], onsets["tau_pair"].values[:2])
    assert np.isnan(rows["tau_bias"][2:]).all()
    expected = np.sqrt(rows["tau_test"][:2] * rows["tau_test"][2:]) / rows["tau_bias"][:2]
    np.testing.assert_allclose(rows["ratio"][:2], expected)
    memorised, epochs = (results["comparison"][n].values for n in ("memorised", "epoch"))
    nearest = 1 + np.abs(np.log(epochs[1:] / rows["tau_test"][0])).argmin()
    assert rows["memorised"][0] == memorised[nearest, 0]
    by_root = store.load(tmp_path)
    assert sorted(by_root["test_loss"]) == sorted(rows["test_loss"])
    file = tmp_path / "pictures.toml"
    file.write_text(TEXT)
    page = study_report.write_report(file, tmp_path).read_text()
    assert page.count("<img alt=") == 2  # phases and curves
