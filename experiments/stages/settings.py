"""What settings of stages are checked for, and the step that a relative time stands for."""

from collections.abc import Mapping
from typing import Any

from hiermodel.checks import check_integer, require
from hiermodel.diffusion.schedule import Schedule


def check_counts(config: Any, *names: str) -> None:
    """Refuse settings that are not integers of at least 1."""
    for name in names:
        check_integer(name, getattr(config, name), 1)


def check_relative_times(*times: float) -> None:
    """Refuse anything but a few numbers t/T in (0, 1]."""
    require(bool(times), "relative_times", times, "at least one number")
    for time in times:
        require(bool(0 < time <= 1), "relative_time", time, "above 0 and at most 1")


def step_at(relative_time: float, schedule: Schedule) -> int:
    """The step t nearest to t/T, at least 1."""
    return max(1, round(relative_time * schedule.num_steps))


def num_members(run: Any) -> int:
    """How many networks a run trains."""
    return run.num_splits * run.num_seeds


def num_rows(run: Any, size: int) -> int:
    """Training and test examples of one network, where ``size`` of each set are taken."""
    return min(size, run.split_size) + min(size, run.test_size)


def num_sampled(run: Any, settings: Mapping[str, Any]) -> int:
    """How many checkpoints are sampled, as expected."""
    return -(-run.num_checkpoints // settings["samples"].every)


def sampling_passes(run: Any, settings: Mapping[str, Any]) -> float:
    """What the stage "samples" costs: every network, checkpoint, sample and step."""
    per_network = settings["samples"].num_samples * run.num_steps
    return num_sampled(run, settings) * num_members(run) * per_network
