"""Prepared data for tests outside the pipeline.

They are made in a process of their own: importing TensorFlow Transform changes what `tf.keras` is.
"""

import pathlib
import subprocess
import sys


def prepare_in_process(dataset: str, source: object, folder: pathlib.Path) -> pathlib.Path:
    """Prepares a data set below a folder; `synthetic` also writes its log first.

    Args:
        dataset: a built-in name; `-head` at its end is the source's matter.
        source: the raw logs, or rows to write for `synthetic`.
        folder: where to work.

    Returns:
        The prepared folder.
    """
    command = [sys.executable, "-m", "ctr_keras.cli"]
    if dataset == "synthetic":
        rows = str(source) if isinstance(source, int) else "8000"
        log = folder / "log"
        subprocess.run([*command, "synthesize", "--rows", rows, "--out", log], check=True)
        source = log
    arguments = ["--dataset", dataset.removesuffix("-head"), "--source", source]
    arguments += ["--out", folder / "prepared"]
    subprocess.run([*command, "prepare", *map(str, arguments)], check=True, capture_output=True)
    return folder / "prepared"
