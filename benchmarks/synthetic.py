"""Prepared data of a synthetic log, for benchmarks that only need some."""

import os
import subprocess
import sys


def prepared_log(folder: str, rows: int) -> str:
    """Prepared data of a log of Criteo's shape; made once.

    Args:
        folder: str. Where the log and the data go.
        rows: int. Of the log.

    Returns:
        The folder of the data.
    """
    log, prepared = os.path.join(folder, "log"), os.path.join(folder, "prepared")
    if not os.path.exists(prepared):
        command = [sys.executable, "-m", "ctr_keras.cli"]
        synthesize = ["synthesize", "--rows", str(rows), "--out", log]
        prepare = ["prepare", "--dataset", "synthetic", "--source", log, "--out", prepared]
        for arguments in (synthesize, prepare):
            subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
    return prepared
