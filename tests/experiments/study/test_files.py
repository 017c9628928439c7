"""Studies come out of their files as they were meant."""

import pytest
from tiny import BASE, MEASURES, STUDY

from experiments import configs
from experiments.study import Budget, Grid, LogSpaced, Random, Range, Zipped
from experiments.study.building import build
from experiments.study.files import from_toml, load_study, shipped

TOML = """
name = "rates"
question = "what does the rate do?"
seeds = [1, 2]
against = ["training.learning_rate"]

[base]
split_size = 8
grammar = { kind = "random", vocab_size = 4, depth = 2, rules_per_symbol = 3 }
network = { type = "MLPConfig", num_leaves = 4, vocab_size = 4, width = 8 }
training = { num_epochs = 40, batch_size = 8 }

[[axes]]
kind = "log"
path = "training.learning_rate"
low = 0.001
high = 0.1
count = 3

[[axes]]
kind = "zipped"
values = { "split_size" = [8, 16], "training.num_epochs" = [40, 20] }

[[axes]]
path = "grammar.sigma"
values = [0.5, 1.0]

[[axes]]
kind = "random"
count = 2
ranges = { "network.dropout" = { low = 0.0, high = 0.5 } }

[measures.evaluation]
num_sequences = 8

[measures.u_turns]
relative_times = [0.1, 0.2]

[budget]
seconds = 60.0
"""


def test_toml_holds_all_that_python_does():
    study = from_toml(TOML)
    assert study.axes == (
        LogSpaced("training.learning_rate", 0.001, 0.1, 3),
        Zipped({"split_size": (8, 16), "training.num_epochs": (40, 20)}),
        Grid("grammar.sigma", (0.5, 1.0)),
        Random({"network.dropout": Range(0.0, 0.5)}, 2),
    )
    assert len(study.runs()) == 2 * 3 * 2 * 2 * 2
    assert study.measures["u_turns"] == configs.UTurnConfig(relative_times=(0.1, 0.2))
    assert (study.seeds, study.budget) == ((1, 2), Budget(seconds=60.0))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("split_size = 8", "split_sizes = 8", "split_sizes"),
        ('type = "MLPConfig", ', "", "one of"),
        ('"MLPConfig"', '"RNNConfig"', "RNNConfig"),
        ("num_epochs = 40, ", "", "num_epochs"),
        ('kind = "log"', 'kind = "loud"', "loud"),
        ("[measures.evaluation]", "[measures.evaluations]", "evaluations"),
        ("batch_size = 8", "batch_size = 0", "batch_size=0"),
        ("seconds = 60.0", "minutes = 1.0", "minutes"),
        ("question =", "questions =", "questions"),
        ("[base]", "[base", "no TOML"),
    ],
)
def test_what_a_file_gets_wrong_is_named(before, after, words):
    assert before in TOML
    with pytest.raises(ValueError, match=words):
        from_toml(TOML.replace(before, after, 1))


def test_configurations_come_back_from_their_json():
    settings = configs.to_json(BASE)
    assert build(configs.RunConfig, settings) == BASE
    u_turns = configs.UTurnConfig(relative_times=(0.1, 0.3))
    assert build(configs.UTurnConfig, configs.to_json(u_turns)) == u_turns


def test_python_files_define_a_study():
    found = load_study(__file__.replace("test_files", "tiny"))
    assert found.runs() == STUDY.runs()
    assert found.measures == MEASURES


def test_files_that_are_no_study_are_refused(tmp_path):
    (tmp_path / "empty.py").touch()
    with pytest.raises(ValueError, match="must define a Study"):
        load_study(tmp_path / "empty.py")
    for name in ("nothing.py", "nothing.toml", "nothing"):
        with pytest.raises(ValueError, match="nothing"):
            load_study(name)


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_expand(name):
    study = load_study(name)
    assert study.name == name
    assert study.question.endswith("?")
    assert len(study.runs()) >= 4
    assert study.answer is not None
