"""A tiny study that has run, shared by the tests of what can be done with it."""

import pytest
from tiny import PARTLY_IMPOSSIBLE, STUDY

from experiments.study.runner import run_study
from experiments.study.summary import make_plan, write_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Root folder of the study, finished by another one that holds all its runs."""
    root = tmp_path_factory.mktemp("root")
    write_study(make_plan(STUDY, root, lambda: 100.0), root)
    run_study(PARTLY_IMPOSSIBLE, root, progress=False)
    return root
