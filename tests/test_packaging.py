"""What is installed: the packages that are listed, all of their data, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

import hermnet

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()}
GROUPS = PROJECT["project"]["entry-points"]


def packaged_files(package: str) -> list[Path]:
    """The files in a package's own folder, other packages in it left out."""
    found: list[Path] = []
    others = {"__pycache__", *(name.split(".")[-1] for name in FOLDERS if name != "hermnet")}
    for folder, subfolders, names in os.walk(FOLDERS[package], followlinks=False):
        subfolders[:] = [sub for sub in subfolders if sub not in others]
        found += [Path(folder, name) for name in names if not name.endswith(".pyc")]
    return found


def python(
    *arguments: str, cwd: Path, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_package_list_is_what_the_folders_hold():
    folders = [p for p in (ROOT / "hermnet").iterdir() if (p / "__init__.py").is_file()]
    links = {f"hermnet.{p.name}": p for p in (ROOT / "hermnet").iterdir() if p.is_symlink()}
    there = {"hermnet", *links, *(f"hermnet.{p.name}" for p in folders)}
    assert there == set(SETUPTOOLS["packages"]) == set(FOLDERS)
    for package, link in links.items():
        assert not link.readlink().is_absolute()
        assert link.resolve() == FOLDERS[package].resolve()


@pytest.mark.parametrize("package", FOLDERS)
def test_every_file_of_a_package_is_packaged(package: str):
    patterns = SETUPTOOLS["package-data"].get(package, [])
    data = {file for pattern in patterns for file in FOLDERS[package].glob(pattern)}
    for file in packaged_files(package):
        is_module = file.suffix == ".py" and file.parent == FOLDERS[package]
        assert is_module or file in data, f"{file.relative_to(ROOT)} would not be installed"


@pytest.mark.parametrize("group", GROUPS)
def test_the_installed_entry_points_are_those_of_the_project(group: str):
    installed = {p.name: p.value for p in entry_points(group=group) if p.dist.name == "hermnet"}
    assert installed == GROUPS[group], "install again: pip install -e ."
    for point in entry_points(group=group):
        assert isinstance(point.load(), type), point


@pytest.mark.parametrize("folder", ["subnets", "datamodules"])
def test_a_folder_refuses_its_bare_name(folder: str):
    done = python("-c", f"import {folder}", cwd=ROOT)
    assert done.returncode != 0
    message = f"ImportError: this folder is a part of hermnet: import 'hermnet.{folder}' instead"
    assert done.stderr.splitlines()[-1] == message


def test_import_hermnet_is_light():
    code = "import hermnet, sys; print(hermnet.__version__, 'torch' in sys.modules)"
    assert python("-c", code, cwd=ROOT).stdout.split() == [version("hermnet"), "False"]


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hermnet' has no attribute 'Potentail'"):
        hermnet.Potentail  # noqa: B018 - looking it up is the test


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by way of the source distribution, from a copy, so that no old build can help."""
    source = tmp_path_factory.mktemp("build") / "source"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "runs"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    done = python("-m", "build", "--no-isolation", cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into."""
    target = tmp_path_factory.mktemp("site")
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    done = python(*pip, str(wheel), cwd=target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


@pytest.mark.slow
def test_the_wheel_holds_hermnet_only_and_all_of_it(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = f"hermnet-{version('hermnet')}.dist-info"
    assert {name.split("/")[0] for name in names} == {"hermnet", metadata}
    for package, folder in FOLDERS.items():
        for file in packaged_files(package):
            inside = Path(*package.split("."), file.relative_to(folder)).as_posix()
            assert inside in names, f"{inside} is missing"


@pytest.mark.slow
def test_the_wheel_runs_away_from_the_checkout(site: Path, tmp_path: Path):
    found = python("-c", "import hermnet; print(hermnet.__file__)", cwd=tmp_path, path=site)
    assert Path(found.stdout.strip()).is_relative_to(site)
    shown = python("-m", "hermnet.cli", "--version", cwd=tmp_path, path=site)
    assert version("hermnet") in shown.stdout, shown.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "name"), [("subnets", "painn"), ("datamodules", "rmd17"), ("configs", "quickstart")]
)
def test_the_wheel_lists_what_it_ships(site: Path, tmp_path: Path, what: str, name: str):
    listed = python("-m", "hermnet.cli", "list", what, cwd=tmp_path, path=site)
    assert name in listed.stdout, listed.stderr
