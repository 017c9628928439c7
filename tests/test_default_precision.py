"""The float32 tests once more as users run JAX by default: without any 64-bit type."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
AGAIN = ["diffusion/test_schedule.py", "diffusion/test_denoisers.py", "inference"]
PICK = "float32 and authors and not another"  # compared with values from outside


def test_float32_tests_pass_with_64_bit_types_switched_off():
    paths = [str(TESTS / path) for path in AGAIN]
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-k", PICK, *paths]
    environment = os.environ | {"JAX_ENABLE_X64": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]
