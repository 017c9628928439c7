"""How the process uses its machine: devices and the compilation cache."""

import os
from pathlib import Path

import jax

CACHE_BYTES = 512 * 2**20
"""Bound on the size of the compilation cache."""


def prepare(root: Path | str) -> None:
    """Use every core as a device of its own, and keep compiled programs under the root.

    To be called before any array exists.

    On a CPU, small networks leave most of a second core idle; with one device per core, members of
    an ensemble run side by side. On GPU and TPU the setting has no effect.

    Args:
        root: where run folders are; compiled programs go to ``root/.compiled``.
    """
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
    jax.config.update("jax_compilation_cache_dir", str(Path(root).absolute() / ".compiled"))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
