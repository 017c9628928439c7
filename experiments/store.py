"""The one place that knows what a run folder looks like.

    ROOT/<identity>/
        config.json          what was asked for
        provenance.json      commit, versions and device, at the first start
        timings.json         seconds spent per stage
        log.txt              what was compiled, how long stages took, warnings; all starts
        error.json           why the last attempt failed, if it did
        privacy.json         epsilon at each checkpoint, if the run is private
        holder.json          the process at work, if one is
        measurements/        one .npz per stage and settings, each array with dimensions and units
    ROOT/members/<identity>/ a network along training (``experiments.runs.members``)
    ROOT/studies/<name>/     table, report, jobs and logs of a study; its runs lie beside others

Files are written beside their place and renamed into it, so a file that is there is whole. They
hold numbers and JSON, nothing pickled: reading a stranger's run folder cannot execute code.
"""

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

FORMAT = 1
"""Version of the layout; written into every measurement file."""

_UNFINISHED = ".*.tmp"

CODE = Path(__file__).parents[1]
"""Where this project lies."""

PACKAGES = ("hiermodel", "jax", "jaxlib", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One array, with what is needed to read it.

    Attributes:
        values: the numbers.
        dims: a name per axis, such as ("checkpoint", "member", "level").
        units: "nats", "epochs", "sequences", "fraction", …
        definition: what was measured, in a sentence.
    """

    values: np.ndarray
    dims: tuple[str, ...]
    units: str
    definition: str

    def __post_init__(self):
        if self.values.ndim != len(self.dims):
            raise ValueError(f"dims={self.dims} do not fit values of shape {self.values.shape}")


Measurements = Mapping[str, Measurement]


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and the reading and writing of its files."""

    path: Path

    @classmethod
    def of(cls, root: Path | str, identity: str) -> "RunFolder":
        """The folder of a run, which may not be there."""
        return cls(Path(root) / identity[:16])

    @classmethod
    def open(cls, root: Path | str, identity: str, config: Any) -> "RunFolder":
        """The folder of a run, made if need be; ``config`` is its JSON description.

        Raises:
            ValueError: if the folder holds another run, naming the fields that differ.
        """
        run = cls.of(root, identity)
        run.path.mkdir(parents=True, exist_ok=True)
        if not run.config_file.exists():
            write_json(run.provenance_file, provenance())
            write_json(run.config_file, {"identity": identity, "config": config})
        known = read_json(run.config_file)
        if known["identity"] != identity:
            from hiermodel.training.folders import differences  # only here: it starts JAX

            lines = differences(known["config"], config) or ["its identity"]
            raise _refused(
                f"identity={identity!r} is not allowed in {run.path}: it holds "
                f"{known['identity']!r} ({'; '.join(lines)}); remove it, or give another root"
            )
        return run

    @property
    def config_file(self) -> Path:
        """What was asked for."""
        return self.path / "config.json"

    @property
    def provenance_file(self) -> Path:
        """Commit, versions and device."""
        return self.path / "provenance.json"

    @property
    def timings_file(self) -> Path:
        """Seconds per stage."""
        return self.path / "timings.json"

    @property
    def privacy_file(self) -> Path:
        """What a private run has given away by each checkpoint."""
        return self.path / "privacy.json"

    @property
    def log_file(self) -> Path:
        """What happened, over all starts."""
        return self.path / "log.txt"

    @property
    def error_file(self) -> Path:
        """Why the last attempt failed, if it did."""
        return self.path / "error.json"

    @property
    def holder_file(self) -> Path:
        """Which process is at work, if one is."""
        return self.path / "holder.json"

    def measurement_file(self, stage: str, identity: str) -> Path:
        """Where the result of a stage with these settings is."""
        return self.path / "measurements" / f"{stage}-{identity[:16]}.npz"

    def measured(self) -> dict[str, list[Path]]:
        """Results of every stage, whatever its settings; the newest last."""
        found: dict[str, list[Path]] = {}
        files = self.path.glob("measurements/*.npz")
        for file in sorted(files, key=lambda path: path.stat().st_mtime):
            found.setdefault(file.stem.rpartition("-")[0], []).append(file)
        return found

    def timings(self) -> dict[str, float]:
        """Seconds spent per stage so far, over all starts."""
        return read_json(self.timings_file)["seconds"] if self.timings_file.exists() else {}

    @contextmanager
    def timed(self, stage: str, share: float = 1.0) -> Iterator[None]:
        """Add a share of the time spent inside to the stage's total, also when interrupted."""
        start = time.monotonic()
        try:
            yield
        except BaseException:
            with suppress(OSError):  # on a full disk, what happened first is what matters
                self._add_seconds(stage, share * (time.monotonic() - start))
            raise
        self._add_seconds(stage, share * (time.monotonic() - start))

    def _add_seconds(self, stage: str, seconds: float) -> None:
        with FileLock(self.path / ".timings.lock"):  # several processes may train a run's networks
            timings = self.timings()
            timings[stage] = timings.get(stage, 0.0) + seconds
            write_json(self.timings_file, {"seconds": timings})

    def remove_unfinished(self) -> None:
        """Remove what killed writes have left; for the one process that works in the folder."""
        for left in (
            *self.path.glob(_UNFINISHED),
            *self.path.glob(f"measurements/**/{_UNFINISHED}"),
        ):
            left.unlink(missing_ok=True)


def save_measurements(path: Path, measurements: Measurements) -> None:
    """Write measurements into one .npz, whole or not at all."""
    about = {
        name: {"dims": list(m.dims), "units": m.units, "definition": m.definition}
        for name, m in measurements.items()
    }
    arrays = {name: m.values for name, m in measurements.items()}
    header = np.array(json.dumps({"format": FORMAT, "measurements": about}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, __about__=header, **arrays)


def load_measurements(path: Path) -> dict[str, Measurement]:
    """Read what :func:`save_measurements` wrote.

    Raises:
        ValueError: if the file is of another format version, or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(str(archive["__about__"]))
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _refused(f"{path} is damaged; remove it to measure again ({error})") from error
    check_format(path, header["format"])
    return {
        name: Measurement(arrays[name], tuple(about["dims"]), about["units"], about["definition"])
        for name, about in header["measurements"].items()
    }


def stack(parts: list[Measurements], dim: str, axis: int = 0) -> dict[str, Measurement]:
    """Join measurements of the same kind along a new dimension, the first or (axis −1) the last."""

    def join(name: str, first: Measurement) -> Measurement:
        values = np.stack([part[name].values for part in parts], axis)
        dims = (dim, *first.dims) if axis == 0 else (*first.dims, dim)
        return dataclasses.replace(first, values=values, dims=dims)

    return {name: join(name, first) for name, first in parts[0].items()}


def trained_checkpoints(measured: Measurements) -> tuple[np.ndarray, np.ndarray]:
    """Which checkpoints have a place on a logarithmic axis (all but the untrained), and epochs."""
    epochs = measured["epoch"].values
    return epochs > 0, epochs[epochs > 0]


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write readable JSON with the version of its format, whole or not at all."""
    text = json.dumps(plain({"format": FORMAT, **value}), indent=2, ensure_ascii=False)
    with _replacing(path) as temporary:
        temporary.write_text(text + "\n")


def plain(value: Any) -> Any:
    """The same for JSON, which knows neither infinity nor NaN: null stands for both."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote, or wrote before files held the version of their format.

    Raises:
        ValueError: if the file is of another format version, or damaged.
    """
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise _refused(f"{path} is damaged: it must hold JSON ({error})") from error
    if path.name == "timings.json" and "seconds" not in value:
        value = {"seconds": value}
    check_format(path, value.get("format", 1))
    return value


def check_format(path: Path, version: int) -> None:
    """Refuse a file that another version of this project wrote.

    Raises:
        ValueError: naming file and version.
    """
    if version != FORMAT:
        raise _refused(f"format={version} of {path} is not allowed: it must be {FORMAT}")


def commit() -> str:
    """Which commit this code is of, with "+changes" if it is not quite that; else "unknown"."""
    if not (CODE / ".git").exists():  # or a repository around it would answer
        return "unknown"
    git = ["git", "--no-optional-locks", "-C", str(CODE)]
    try:
        head, changes = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.strip() + ("+changes" if changes else "")


def provenance() -> dict[str, Any]:
    """Versions of what a result depends on, and the device it runs on."""
    import jax  # only here: reading results should not start JAX

    devices = jax.devices()
    return {
        "commit": commit(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": f"{len(devices)} × {devices[0].device_kind}",
        "backend": jax.default_backend(),
        "cores": os.cpu_count(),
    }


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``path`` at the end.

    Raises:
        OSError: if it cannot be written, naming the path.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        advice = "what is finished is kept: make room and start again"
        raise OSError(error.errno, f"{error.strerror}; {advice}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _refused(message: str) -> ValueError:
    """The error for input that is refused."""
    from hiermodel.checks import InputError  # only here: it starts JAX

    return InputError(message)
