"""One smoke run of everything, shared by all tests of the reproduction."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run_python():
    """Run ``python ...`` in a process of its own, as a newcomer does; return what it printed."""

    def run(folder: Path, *arguments: str, fails: bool = False) -> str:
        environment = {
            **os.environ,
            "JAX_ENABLE_X64": "0",
            # A cache of XLA's own, of which GPUs make use: its path would be part of every key.
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
            "PYTHONPATH": str(PROJECT),
        }
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.fixture(scope="session")
def smoke(pytestconfig, tmp_path_factory, run_python) -> tuple[Path, str]:
    """The root folder of a smoke run of all figures, and what the run printed.

    Its compiled programs stay for the next time that the tests are run.
    """
    folder = tmp_path_factory.mktemp("work")
    if pytestconfig.pluginmanager.hasplugin("cacheprovider"):
        (folder / "runs").mkdir()
        (folder / "runs" / ".compiled").symlink_to(pytestconfig.cache.mkdir("smoke"))
    return folder / "runs", run_python(folder, "-m", "paper_repro", "--scale", "smoke")
