"""The compilation cache: bounded, and mended after a kill."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runtime import _remove_unfinished

PROJECT = Path(__file__).parents[2]
# Compiles programs of about the same size, and says how large the cache is after each.
COMPILE = """
import sys
from pathlib import Path
from experiments import runtime
runtime.CACHE_BYTES, runtime.CACHE_SECONDS = int(sys.argv[2]), 0.0
runtime.prepare(sys.argv[1])
import jax
for length in range(2, 10):
    jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.ones(length))
    print(sum(f.stat().st_size for f in Path(sys.argv[1], ".compiled").glob("*-cache")))
"""


def sizes(root: Path, bound: int) -> list[int]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", COMPILE, str(root), str(bound)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "UserWarning" not in done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.mark.long
def test_the_cache_stays_within_its_bound(tmp_path):
    unbounded = sizes(tmp_path / "unbounded", 10**9)
    bound = unbounded[-1] // 2
    bounded = sizes(tmp_path / "bounded", bound)
    assert max(unbounded) > bound >= max(bounded) > 0
    # The newest programs are there: it is the oldest that went.
    assert bounded[-1] > bound // 2


def test_programs_whose_writing_was_cut_short_are_removed(tmp_path):
    for name in ("whole-cache", "whole-atime", "cut-cache"):
        (tmp_path / name).write_bytes(b"12345678")
    _remove_unfinished(tmp_path)
    assert not (tmp_path / "cut-cache").exists()
    assert (tmp_path / "whole-cache").exists()
    _remove_unfinished(tmp_path / "nowhere")
