"""Studies come out of their files as they were meant."""

import json

import pytest
from tiny import BASE, MEASURES, STUDY

from experiments import configs, laptop
from experiments.study.files import load_study, shipped
from experiments.worlds.registry import from_json
from paper_repro.protocol import protocol


def test_configurations_come_back_from_their_json():
    for config in (BASE, laptop.BASE, protocol("smoke").sizes["images"].run):
        assert from_json(json.loads(json.dumps(configs.to_json(config)))) == config


def test_types_that_no_configuration_has_are_refused():
    with pytest.raises(ValueError, match="Malicious"):
        from_json({"type": "Malicious"})


def test_python_files_define_a_study():
    found = load_study(__file__.replace("test_files", "tiny"))
    assert found.runs() == STUDY.runs()
    assert found.measures == MEASURES


def test_one_configuration_is_a_study_of_itself(tmp_path):
    (tmp_path / "alone.py").write_text("from tiny import BASE as RUN")
    described = {"config": configs.to_json(BASE)}
    (tmp_path / "config.json").write_text(json.dumps(described))
    for name in ("alone.py", "config.json"):
        found = load_study(tmp_path / name)
        assert found.runs() == [BASE]
        assert set(found.measures_of(BASE)) == {"evaluation", "samples", "comparison"}
        assert found.name_of(BASE) == "the only run"


def test_another_seed_makes_other_runs_in_a_folder_of_their_own():
    found = load_study(__file__.replace("test_files", "tiny"), seed=5)
    assert found.name == "tiny-seed-5"
    assert {run.seed for run in found.runs()} == {5}
    with pytest.raises(ValueError, match="seed=-1"):
        load_study("set_size", seed=-1)


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
    assert len(study.runs()) >= 3
    assert study.answer is not None
