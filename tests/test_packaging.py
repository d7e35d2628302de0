"""What is released: the same bytes whoever builds it, with all that the packages need."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.conftest import ROOT

PACKAGES = ("ctr_keras", "pipeline", "serving")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt", ".gitignore")


def build(folder: pathlib.Path) -> list[bytes]:
    """The archives of a copy whose files are new."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, copy_function=shutil.copyfile)
    for name in FILES:
        shutil.copyfile(ROOT / name, folder / name)
    command = [sys.executable, "-m", "hatchling", "build"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return [path.read_bytes() for path in sorted((folder / "dist").iterdir())]


def test_two_builds_are_the_same_bytes_and_hold_what_is_needed(tmp_path):
    pytest.importorskip("hatchling")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert build(first) == build(second)

    wheel, sdist = sorted((first / "dist").iterdir())
    held = {*zipfile.ZipFile(wheel).namelist()}
    paths = (path for name in PACKAGES for path in (ROOT / name).rglob("*"))
    needed = {str(p.relative_to(ROOT)) for p in paths if p.is_file() and p.suffix != ".pyc"}
    assert {name for name in held if ".dist-info/" not in name} == needed
    root = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        assert {f"{root}/{name}" for name in (*needed, *FILES)} <= {*archive.getnames()}
