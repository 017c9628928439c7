"""A study of tiny runs, in the test's process or one of its own."""

from experiments import configs
from experiments.stages.evaluation import EvaluationConfig
from experiments.stages.generation import ComparisonConfig, SamplesConfig
from experiments.study import Grid, Study, Zipped
from experiments.worlds.grammar import GrammarConfig
from hiermodel.networks.mlp import MLPConfig
from hiermodel.training.state import TrainingConfig

BASE = configs.RunConfig(
    data=GrammarConfig(kind="random", vocab_size=4, depth=2, rules_per_symbol=3),
    network=MLPConfig(4, 4, width=8, num_blocks=1),
    training=TrainingConfig(num_epochs=40, batch_size=8, learning_rate=1e-2),
    split_size=8,
    test_size=8,
    num_steps=20,
    first_checkpoint=2,
    num_checkpoints=5,
)

MEASURES = {
    "evaluation": EvaluationConfig(num_examples=8, num_noises=1, num_loss_noises=1),
    "samples": SamplesConfig(num_samples=16),
    "comparison": ComparisonConfig(num_floor_repeats=2),
}

STUDY = Study(
    name="tiny",
    question="does anything come out?",
    base=BASE,
    axes=(Grid("training.learning_rate", (0.01, 0.003)),),
    measures=MEASURES,
)

PARTLY_IMPOSSIBLE = Study(
    name="partly",
    question="does one failure stop the others?",
    base=BASE,
    axes=(
        # The first asks for more rules than there are pairs of symbols; the others are STUDY's.
        Zipped(
            {
                "data.rules_per_symbol": (9, 3, 3),
                "training.learning_rate": (0.01, 0.01, 0.003),
            }
        ),
    ),
    measures=MEASURES,
)
