"""One member of the paper's scale, as one of many jobs: started, terminated, and able to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.long
def test_a_block_of_members_is_started_and_terminated(tmp_path):
    command = [sys.executable, "-m", "paper_repro", "--scale", "paper", "--network", "tree"]
    command += ["--sizes", "small", "--splits", "0:1", "--seeds", "0:1", "--root", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "JAX_ENABLE_X64": "0"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("members/*/resume-000000000.npz")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (member,) = tmp_path.glob("members/*")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 75, errors
    assert "the same command goes on from here" in errors
    assert list(member.glob("resume-*.npz"))
    assert not (member / "holder.json").exists()
