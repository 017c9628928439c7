"""Several processes of a study on one machine, each with a share of its devices and memory.

Processes find their work themselves (``experiments.study.runner``); this file only starts them,
bounds them, and notes who died.
"""

import dataclasses
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from experiments import signals
from experiments.runs.failures import record_death
from experiments.runs.training import folder_of
from experiments.study.design import Study
from experiments.study.state import folders_of, holder_of
from hiermodel.checks import check_integer, require

GPU_SHARE = 0.9
"""Of a GPU's memory, for the workers on it together."""

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Share:
    """What one worker may use.

    Attributes:
        gpu: the GPU it sees, as CUDA names it; None on a machine without.
        gpu_memory: its fraction of that GPU's memory.
        cores: the cores it runs on.
    """

    gpu: str | None
    gpu_memory: float
    cores: tuple[int, ...]

    def environment(self) -> dict[str, str]:
        """Variables that make JAX keep to it."""
        if self.gpu is None:
            return {}
        return {
            "CUDA_VISIBLE_DEVICES": self.gpu,
            "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{self.gpu_memory:.3f}",
        }


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that this process may use; found without starting JAX, which would take one."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    driver = Path("/proc/driver/nvidia/gpus")
    return [str(index) for index in range(len(list(driver.iterdir())))] if driver.exists() else []


def shares(num_workers: int, gpus: Sequence[str], cores: Sequence[int]) -> list[Share]:
    """GPUs in turn, and an equal part of the cores, for each worker.

    Raises:
        ValueError: for fewer cores than workers.
    """
    check_integer("processes", num_workers, 1)
    fits = num_workers <= len(cores)
    require(fits, "processes", num_workers, f"at most the number of cores, {len(cores)}")
    per_gpu = -(-num_workers // len(gpus)) if gpus else 1
    return [
        Share(
            gpus[index % len(gpus)] if gpus else None,
            GPU_SHARE / per_gpu,
            tuple(cores[index::num_workers]),
        )
        for index in range(num_workers)
    ]


def bound_memory(gibibytes: float | None) -> None:
    """Let this process fail to allocate beyond a bound, rather than the machine run out.

    The bound is on data on the host, threads' stacks included; what lies on a GPU does not count.
    """
    if gibibytes is not None:
        require(gibibytes > 0, "memory", gibibytes, "positive")
        bound = int(gibibytes * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, resource.RLIM_INFINITY))


def run_workers(
    study: Study, root: Path, command: Sequence[str], num_workers: int, log_folder: Path
) -> None:
    """Start workers and wait until all have found nothing more to do.

    A worker that dies has its run marked as failed, and is started again for the others.

    Args:
        study: the study.
        root: where run folders are.
        command: arguments of ``python`` that run the study in one process.
        num_workers: how many.
        log_folder: where ``worker-<i>.log`` go.

    Raises:
        Stopped: after the workers have saved, if a signal asks to stop.
        RuntimeError: if a worker ends with an error of its own rather than of a run.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    own = shares(num_workers, visible_gpus(), sorted(os.sched_getaffinity(0)))
    running = {index: _start(command, share, log_folder, index) for index, share in enumerate(own)}
    try:
        while running:
            time.sleep(0.2)
            for index, worker in list(running.items()):
                if (code := worker.poll()) is None:
                    continue
                del running[index]
                if code and _note_death(study, root, worker.pid, code):
                    running[index] = _start(command, own[index], log_folder, index)
                elif code:
                    log = log_folder / f"worker-{index}.log"
                    raise RuntimeError(f"worker {index} ended with code {code}: see {log}")
    finally:
        for worker in running.values():
            worker.terminate()
        for worker in running.values():
            worker.wait()
    signals.leave_if_asked()


def _start(
    command: Sequence[str], share: Share, log_folder: Path, index: int
) -> "subprocess.Popen[bytes]":
    with (log_folder / f"worker-{index}.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **share.environment()},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    os.sched_setaffinity(worker.pid, share.cores)
    _LOG.info("worker %d: process %d on %s", index, worker.pid, share)
    return worker


def _note_death(study: Study, root: Path, process: int, code: int) -> bool:
    """Mark the runs that a dead process worked on as failed; False if there are none."""
    noted = False
    for config in study.runs():
        for folder in folders_of(config, root):
            holder = holder_of(folder)
            if holder is not None and holder["process"] == process:
                folder.holder_file.unlink(missing_ok=True)
                record_death(folder_of(config, root), process, code)
                noted = True
    return noted
