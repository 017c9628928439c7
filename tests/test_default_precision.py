"""A few tests as users run JAX by default: no 64-bit type, and the optimising compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
AGAIN = [
    # compared with values from outside: both kinds of upward pass, the schedule, one reverse step
    "diffusion/test_denoisers.py::test_the_paper_grammars_denoisers_are_the_authors[float32-0]",
    "diffusion/test_denoisers.py::test_another_grammars_denoisers_are_the_authors[float32-2]",
    "diffusion/test_denoisers.py::test_the_empirical_denoiser_is_the_authors[float32]",
    "diffusion/test_schedule.py::test_a_reverse_step_is_the_authors[float32]",
    "diffusion/test_schedule.py::test_the_linear_schedule_is_the_authors",
    "datasets/test_datasets.py::test_the_bytes_of_a_name_are_frozen[paper]",
    # equal to the last bit, whatever the size of the batch
    "diffusion/test_denoiser_contract.py::test_more_samples_leave_the_first_ones_alone",
    "grammar/test_sampling.py::test_more_samples_leave_the_first_ones_alone",
    "training/test_epochs.py::test_training_in_pieces_changes_nothing",
]


@pytest.mark.long
def test_users_get_the_same_without_64_bit_types_and_with_the_optimising_compiler():
    paths = [str(TESTS / path) for path in AGAIN]
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", *paths]
    environment = os.environ | {"JAX_ENABLE_X64": "0", "XLA_FLAGS": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]
