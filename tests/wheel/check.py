"""Build wheel and sdist, and try both as a new user does: fresh environment, empty directory.

``python tests/wheel/check.py [--python python3.13 …]`` tries, with each interpreter, the wheel with
the oldest versions that its metadata allow and the sdist with the newest (``--versions`` names one
alone): what the client does, what types its checker sees, and training. It leaves both in dist/.
"""

import argparse
import json
import re
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
    both = ["oldest", "newest"]
    parser.add_argument("--versions", nargs="+", choices=both, default=both)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tools = environment(Path(folder) / "tools", given.python[0], ["build", pinned_checker()])
        wheel, sdist = build(tools)
        legs = {"oldest": (wheel, oldest_versions()), "newest": (sdist, [])}
        for number, interpreter in enumerate(given.python):
            for name in given.versions:
                archive, versions = legs[name]
                print(f"== {archive.name}, {name} versions, {interpreter}", flush=True)
                place = Path(folder) / f"{name}-{number}"
                attempt(place, interpreter, archive, versions, tools)


def build(tools: Path) -> tuple[Path, Path]:
    """Wheel and sdist in dist/, built by their own tools."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(tools, "-m", "build", "--outdir", ROOT / "dist", ROOT)
    (wheel,), (sdist,) = (list((ROOT / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, sdist


def attempt(
    folder: Path, interpreter: str, archive: Path, versions: list[str], tools: Path
) -> None:
    """First what everybody gets, then with what training needs."""
    empty = folder / "empty"
    empty.mkdir(parents=True)
    python = environment(folder / "env", interpreter, [str(archive), *versions])
    run(python, "-W", "error::DeprecationWarning:hiermodel", CLIENT, cwd=empty)
    check_types(tools, python, empty)
    kept = oldest_versions("train") if versions else []
    run(python, "-m", "pip", "install", "--quiet", f"{archive}[train]", *kept)
    run(python, LEARNER, cwd=empty)


def check_types(tools: Path, python: Path, empty: Path) -> None:
    """What the client asserts of types, where nothing but the installed library is found."""
    shutil.copy(CLIENT, empty)
    # Types that a library declares count, by py.typed, and none that are guessed from its code.
    settings = {"typeCheckingMode": "standard", "useLibraryCodeForTypes": False}
    (empty / "pyrightconfig.json").write_text(json.dumps(settings))
    checker = tools.with_name("basedpyright")
    run(checker, "--pythonpath", python, CLIENT.name, cwd=empty)


def pinned_checker() -> str:
    """The type checker in the version that the library itself is checked with."""
    lock = (ROOT / "requirements.lock").read_text()
    (pinned,) = re.findall("^basedpyright==.*$", lock, re.MULTILINE)
    return pinned


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
