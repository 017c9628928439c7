"""Several processes, as on several hosts, train the runs of a study together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from experiments.study.outcome import load
from experiments.study.runner import run_study
from experiments.study.state import standing

PROJECT = Path(__file__).parents[3]
MEASURING = ["evaluation", "samples", "comparison"]


@pytest.mark.long
def test_two_processes_run_a_study_together(finished, tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "experiments", "run", tiny.__file__, "--distributed"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)]),
        "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }
    running = [
        subprocess.Popen(
            [*command, "--root", str(tmp_path)],
            env=environment | {"JAX_PROCESS_ID": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=600) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    for run in tiny.STUDY.runs():
        assert standing(tiny.STUDY, run, tmp_path).unfinished == MEASURING
    run_study(tiny.STUDY, tmp_path, progress=False)
    # The same numbers as from one process, up to the order of sums.
    ours, theirs = load(tiny.STUDY, tmp_path), load(tiny.STUDY, finished)
    np.testing.assert_allclose(ours["test_loss"], theirs["test_loss"], atol=1e-5)
