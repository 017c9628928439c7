"""Studies come out of their files as they were meant."""

import json

import pytest
from tiny import BASE, MEASURES, STUDY

from experiments import configs, laptop
from experiments.study.files import load_study, shipped
from paper_repro import image_protocol


def test_configurations_come_back_from_their_json():
    for config in (BASE, laptop.BASE, image_protocol.smoke_images()["images"].run):
        assert configs.from_json(json.loads(json.dumps(configs.to_json(config)))) == config


def test_types_that_no_configuration_has_are_refused():
    with pytest.raises(ValueError, match="Malicious"):
        configs.from_json({"type": "Malicious"})


def test_python_files_define_a_study():
    found = load_study(__file__.replace("test_files", "tiny"))
    assert found.runs() == STUDY.runs()
    assert found.measures == MEASURES


def test_files_that_are_no_study_are_refused(tmp_path):
    (tmp_path / "empty.py").touch()
    with pytest.raises(ValueError, match="must define a Study"):
        load_study(tmp_path / "empty.py")
    for name in ("nothing.py", "nothing"):
        with pytest.raises(ValueError, match="nothing"):
            load_study(name)


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_expand(name):
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    assert len(study.runs()) >= 4
    assert study.answer is not None
