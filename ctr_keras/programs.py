"""Modules of this library as programs: with a quiet TensorFlow, and whatever lies in the folder
that they are started in.

`python -m` looks there first: a folder `serving/` of the user's own would be taken for this
library's.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # of all packages
# Packages know where their modules are, so that the root need not stay before other folders.
_START = """
import importlib, runpy, sys
root, name = sys.argv[1:3]
del sys.argv[1:3]
sys.path.insert(0, root)
for package in ("ctr_keras", name.partition(".")[0]):
    importlib.import_module(package)
sys.path.remove(root)
importlib.import_module("ctr_keras.quiet").quiet_tensorflow()
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""


def program(module: str) -> list[str]:
    """The words of a command that runs a module in a process of its own.

    Example:

    >>> import subprocess
    >>> subprocess.run(program("ctr_keras.version")).returncode
    0
    """
    return [sys.executable, "-P", "-c", _START, _ROOT, module]
