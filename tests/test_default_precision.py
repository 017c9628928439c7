"""The float32 tests once more as users run JAX by default: without any 64-bit type."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
AGAIN = [
    "diffusion/test_schedule.py",
    "diffusion/test_denoisers.py",
    "diffusion/test_forbidden.py",
    "inference/test_belief_propagation.py::test_observed_and_masked_symbols_give_the_authors_marginals",
    "inference/test_belief_propagation.py::test_impossible_evidence_leaves_the_prior_and_no_nan",
    "grammar/test_sampling.py",
]


def test_single_precision_tests_pass_with_64_bit_types_switched_off():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:xdist",
        *(str(TESTS / path) for path in AGAIN),
    ]
    environment = os.environ | {"JAX_ENABLE_X64": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]
