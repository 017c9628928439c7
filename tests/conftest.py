"""Set-up shared by all tests: precision, a fast compiler, type checks, quiet plots, fixed examples.

The order matters: precision before any array exists, the import hook before hiermodel is imported.
"""

import collections
import ctypes
import functools
import gc
import os
import zlib
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JAX_ENABLE_X64", "1")  # set it to 0 to test what users get by default
# Nearly all time goes into compiling, and this compiles nine times faster: the same operations in
# the same precision, only not optimised. XLA_FLAGS= (empty) tests with the compiler that users get.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
)

import hypothesis
import jax
import jaxtyping
import numpy as np
import psutil
import pytest
from jax._src.interpreters import mlir

jaxtyping.install_import_hook("hiermodel", "beartype.beartype")

# A compilation may fall into any example, so time says nothing: no deadline. No example is ever
# random, so a failure in one run is a failure in all.
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

LONGEST = ("paper_repro", "experiments", "study", "worlds")
"""Folders of tests whose files take longest."""

MOST_BYTES = 3 * 2**29
"""Memory of a test process, 1.5 GiB, above which programs of finished files go."""


# Thousands of programs are as small as one addition. To make an MLIR context, of which JAX wants
# one for each program, takes longer than to trace and lower such a one: those of a file share one.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def pytest_configure(config):
    """Share compiled programs, the smallest too, between worker processes and with later runs."""
    if not config.pluginmanager.hasplugin("cacheprovider"):
        return
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


SIBLINGS = {
    "float64": "float32",
    "uniform": "masked",
    "filtered 2": "filtered 1",
    "filtered 1": "exact",
    "filtered to the leaves": "exact",
    "a class of one's own": "masked",
    "single rule": "paper",
    "many rules": "paper",
    "transformer, pre-norm": "transformer",
    "tree U-Net, posteriors": "tree U-Net",
    "calibrated": "plain",
    "filtered": "exact",
    "single symbol": "paper",
    "extreme weights": "paper",
    "structure2": "structure0",
    "structure3": "structure1",
    "MixtureConfig": "GrammarConfig",
    "U-Net": "mlp",
    "unet": "mlp",
    "options1": "options0",
    "options2": "options0",
    "averaged": "learned",
    ", of symbols": "",
    "by position": "joint",
    "any order": "joint",
    "posterior trees": "beliefs",
    "discrete U-turn": "U-turn",
    "highest": "high",
    "cuda": "tpu",
    "cpu": "tpu",
}
"""Values of parameters that ``make test`` leaves to ``make test-long``, and those that it runs."""

FILTER_LEVELS = (0, 2)
"""One of these is what ``make test`` runs of a test that has both: half of the tests run either."""

PROCESSES = ("Gaussian", "masked")
"""Likewise."""

BOTH = ("test_belief_propagation.py", "test_denoisers.py")
"""Files of which it runs both."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Files that train and start processes come first, small ones last: no worker is left alone.

    Nor do neighbours of a folder compile the same programs at the same time. Of a test that is run
    with both of two siblings, or with several filter levels, some are long.
    """
    items.sort(key=lambda item: (item.path.parent.name not in LONGEST, -_bytes(item.path)))
    known = {item.nodeid for item in items}
    levels = collections.defaultdict(set)
    for item in items:
        levels[item.nodeid.partition("[")[0]].add(_filter_level(item))
    for item in items:
        name, bracket, values = item.nodeid.partition("[")
        spared, kept_one = PROCESSES if _number(name) % 2 else PROCESSES[::-1]
        has_sibling = any(
            own in values and name + bracket + values.replace(own, sibling) in known
            for own, sibling in (*SIBLINGS.items(), (spared, kept_one))
        )
        kept = FILTER_LEVELS
        if item.path.name not in BOTH:
            kept = (FILTER_LEVELS[_number(name) % 2],)
        spare = set(FILTER_LEVELS) <= levels[name] and _filter_level(item) not in kept
        if has_sibling or spare:
            item.add_marker(pytest.mark.long)


@functools.cache
def _bytes(path):
    return path.stat().st_size


def _number(name):
    """The same in every process, and in no order."""
    return zlib.crc32(name.encode())


def _filter_level(item):
    found = item.callspec.params.get("filter_level") if hasattr(item, "callspec") else None
    return found if isinstance(found, int) else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Types are checked at run time in every long test, and in every second file of the library's.

    They take a tenth of a test's time, and every function is called in many files.
    """
    of_library = item.path.parent.name not in LONGEST
    checked = "long" in item.keywords or (of_library and _number(item.path.name) % 2 == 0)
    jaxtyping.config.update("jaxtyping_disable", not checked)


def pytest_collection_finish():
    """Garbage is looked for less often, as tracing leaves little, and not in what was imported."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="module", autouse=True)
def _memory_of_programs():
    """Compiled programs are let go between files once a process has grown; the cache has them."""
    yield
    mlir.make_ir_context.cache_clear()
    if psutil.Process().memory_info().rss > MOST_BYTES:
        jax.clear_caches()
        gc.collect()
        # glibc keeps freed memory to itself, and every file after this one would be cleared too.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@pytest.fixture(scope="session")
def reference():
    """Load tests/data/<name>.npz: values of the authors' implementation."""

    def load(name: str):
        return np.load(DATA / f"{name}.npz", allow_pickle=False)

    return load


class Precision(NamedTuple):
    dtype: type
    tolerance: float


PRECISIONS = {"float32": Precision(np.float32, 1e-5)}
if jax.config.jax_enable_x64:
    PRECISIONS["float64"] = Precision(np.float64, 1e-10)


@pytest.fixture(params=PRECISIONS)
def precision(request):
    """The dtype of a test's inputs, and the absolute tolerance that goes with it."""
    return PRECISIONS[request.param]


@pytest.fixture
def unchecked_types(monkeypatch):
    """Switch the run-time type checks off: only the library's own checks are left."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def count_compilations():
    """Number of programs compiled while a function runs."""

    def count(function):
        events = []

        def listen(event, *_, **__):
            if event == "/jax/core/compile/backend_compile_duration":
                events.append(event)

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            function()
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        return len(events)

    return count


@pytest.fixture
def guard(monkeypatch):
    """Lets no array slip to a device while a program runs: ``guard(module, name)``.

    What it returns grows with every call.
    """

    def guard(module, name):
        program, calls = getattr(module, name), []

        def guarded(*arguments, **options):
            calls.append(name)
            with jax.transfer_guard("disallow"):
                return program(*arguments, **options)

        monkeypatch.setattr(module, name, guarded)
        return calls

    return guard
