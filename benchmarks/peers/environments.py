"""Environments of the peers: each in a folder of its own, with pinned packages from PyPI."""

import os
import pathlib
import subprocess
import sys

REQUIREMENTS = pathlib.Path(__file__).parent


def default_folder() -> str:
    """Where environments are kept between runs: below the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "ctr-keras", "environments")


def environment_python(folder: str, peer: str) -> str:
    """The interpreter of a peer's environment, which is made if it is not there or out of date.

    Args:
        folder: str. Holds the environments.
        peer: str. `PEER.txt` next to this file has its packages.

    Raises:
        subprocess.CalledProcessError: if its packages cannot be installed; pip has said why.
    """
    path = pathlib.Path(folder, peer)
    python, installed = path / "bin" / "python", path / "installed"
    requirements = REQUIREMENTS / f"{peer}.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        print(f"making an environment for {peer} in {path}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", requirements], check=True)
        installed.write_text(requirements.read_text())
    return str(python)
