"""Set-up shared by all tests: double precision, run-time type checks, quiet plots, fixed examples.

The order matters: precision before any array exists, the import hook before hiermodel is imported.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jaxtyping.install_import_hook("hiermodel", "beartype.beartype")

# A compilation may fall into any example, so time says nothing: no deadline, and no example is
# ever random, so a failure in one run is a failure in all.
hypothesis.settings.register_profile(
    "hiermodel",
    deadline=None,
    derandomize=True,
    print_blob=True,
    max_examples=40,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("hiermodel")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def reference():
    """Load tests/data/<name>.npz: reference values, described in the README there or in SPEC."""

    def load(name: str):
        return np.load(DATA / f"{name}.npz", allow_pickle=False)

    return load


class Precision(NamedTuple):
    dtype: type
    tolerance: float


PRECISIONS = {
    "float64": Precision(np.float64, 1e-10),
    "float32": Precision(np.float32, 1e-5),  # x64 off altogether: what a user gets by default
    "float32_in_x64": Precision(np.float32, 1e-5),  # float32 data meets a float64 grammar
}


@pytest.fixture(params=PRECISIONS)
def precision(request):
    """The dtype of the inputs and the absolute tolerance it allows, in each way to be used."""
    x64 = contextlib.nullcontext() if "64" in request.param else jax.enable_x64(False)
    with x64:
        yield PRECISIONS[request.param]


@pytest.fixture
def as_user(monkeypatch):
    """Switch the run-time type checks off, so that the library's own messages are seen."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
