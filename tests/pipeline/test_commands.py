"""The pipeline's commands: their help knows all data sets and costs nothing."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
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


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("source: {format: csv}\nlabel: click\nfeatures: [{nme: site}]\n", "kind is not given"),
        ("source: {format: csv\n", "line 2, column 1: expected"),
    ],
)
def test_a_typo_in_yaml_is_found_before_anything_heavy_is_imported(tmp_path, declaration, message):
    path = tmp_path / "my.yaml"
    path.write_text(declaration)
    code = (
        "import sys; from ctr_keras.cli import main\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stdout)"
    )
    command = [sys.executable, "-c", code, "prepare", "--dataset", str(path)]
    command += ["--source", str(tmp_path), "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: {path}")
    assert message in line
    heavy = {"apache_beam", "keras", "pandas", "tensorflow", "tensorflow_transform"}
    assert not heavy & set(ended.stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-rejectd", "0.5"], "unknown option --max-rejectd; did you mean '--max-rejected'?"),
        (["--direct_num_worker=3"], "unknown option --direct_num_worker; did you mean '--direct_n"),
        (["--colour", "red"], "unknown option --colour\n"),
        (["more"], "unexpected argument 'more'"),
        (["--direct_num_workers=x"], "argument --direct_num_workers: invalid int value: 'x'"),
    ],
)
def test_options_that_neither_prepare_nor_beam_has_are_refused(
    synthetic_log, tmp_path, options, message
):
    command = ["prepare", "--dataset", "synthetic", "--source", str(synthetic_log), "--out"]
    result = CliRunner().invoke(main, [*command, str(tmp_path / "out"), *options])
    assert result.exit_code == 1
    assert message in result.output
    assert not [*tmp_path.iterdir()]
