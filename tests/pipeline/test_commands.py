"""The pipeline's commands: their help knows all data sets and costs nothing."""

import subprocess
import sys

from click.testing import CliRunner

from pipeline import commands
from pipeline.datasets import DATASETS


def test_help_lists_the_built_in_data_sets():
    shown = CliRunner().invoke(commands.prepare, ["--help"], terminal_width=200).output
    assert f"Built-in data sets: {', '.join(DATASETS)}." in shown


def test_names_of_commands_and_data_sets_import_nothing_heavy():
    code = "import pipeline.commands, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    heavy = {"apache_beam", "numpy", "pyarrow", "tensorflow", "tensorflow_transform", "yaml"}
    assert not heavy & set(loaded.stdout.split())
