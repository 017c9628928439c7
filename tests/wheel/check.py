"""Build wheel and sdist, and try both as a new user does: fresh environment, empty directory.

``python tests/wheel/check.py [--python python3.13 …]`` tries, with each interpreter, the wheel with
the oldest versions that its metadata allow and the sdist with the newest. It leaves both in dist/.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name("client.py")
LEARNER = Path(__file__).with_name("learner.py")


def main() -> None:
    """Build, then try."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    interpreters = parser.parse_args().python
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(Path(folder) / "build", interpreters[0])
        for number, interpreter in enumerate(interpreters):
            for name, archive, versions in (
                ("oldest", wheel, oldest_versions()),
                ("newest", sdist, []),
            ):
                print(f"== {archive.name}, {name} versions, {interpreter}", flush=True)
                attempt(Path(folder) / f"{name}-{number}", interpreter, archive, versions)


def build(folder: Path, interpreter: str) -> tuple[Path, Path]:
    """Wheel and sdist in dist/, built by their own tools."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    python = environment(folder, interpreter, ["build"])
    run(python, "-m", "build", "--outdir", ROOT / "dist", ROOT)
    (wheel,), (sdist,) = (list((ROOT / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, sdist


def attempt(folder: Path, interpreter: str, archive: Path, versions: list[str]) -> None:
    """First what everybody gets, then with what training needs."""
    empty = folder / "empty"
    empty.mkdir(parents=True)
    python = environment(folder / "env", interpreter, [str(archive), *versions])
    run(python, "-W", "error::DeprecationWarning:hiermodel", CLIENT, cwd=empty)
    kept = oldest_versions("train") if versions else []
    run(python, "-m", "pip", "install", "--quiet", f"{archive}[train]", *kept)
    run(python, LEARNER, cwd=empty)


def environment(folder: Path, interpreter: str, packages: list[str]) -> Path:
    """A new virtual environment with these packages; its interpreter."""
    run(interpreter, "-m", "venv", folder)
    python = folder / "bin/python"
    run(python, "-m", "pip", "install", "--quiet", *packages)
    return python


def oldest_versions(extra: str | None = None) -> list[str]:
    """The lower bounds of pyproject, each as the version to take; an extra's may be higher."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    return [f"{name}=={least}" for name, least in dict(one.split(">=") for one in bounds).items()]


def run(*command: object, cwd: Path | None = None) -> None:
    """Run a command; what fails ends the check."""
    subprocess.run([str(part) for part in command], check=True, cwd=cwd)


if __name__ == "__main__":
    main()
