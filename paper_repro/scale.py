"""What a scale of the reproduction is made of."""

import dataclasses
from collections.abc import Mapping

from experiments.configs import EvaluationConfig, GenerationConfig, RunConfig, StageConfig
from experiments.images.configs import (
    ImageEvaluationConfig,
    ImageGenerationConfig,
    ImageRunConfig,
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that the measurements of one run depend on.

    Attributes:
        run: data, networks and training.
        evaluation: losses and divergences at checkpoints.
        generation: samples at checkpoints.
        stages: the further stages, by name.
    """

    run: RunConfig | ImageRunConfig
    evaluation: EvaluationConfig | ImageEvaluationConfig
    generation: GenerationConfig | ImageGenerationConfig
    stages: Mapping[str, StageConfig]
