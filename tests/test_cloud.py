"""From a log to a version of a model on an object store: whole or not at all, at every step."""

import os
import pathlib

import pytest
from click.testing import CliRunner

from ctr_keras import files, mirrors
from ctr_keras.cli import main
from ctr_keras.data import read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.partitions import join
from ctr_keras.training import evaluate_run, read_config, train
from pipeline.prepare import prepare
from tests.cloud import bucket  # noqa: F401 (a fixture)

LOG = "site,price,click\n" + "".join(f"s{i % 7},{i % 5},{int(i % 7 < 3)}\n" for i in range(2000))
DECLARATION = """
source: {format: csv}
label: click
features:
  - {kind: categorical, name: site, group: item}
  - {kind: numeric, name: price, scale: z_score}
"""


def test_files_are_found_moved_and_deleted(bucket, tmp_path):  # noqa: F811
    root = f"{bucket}/files"
    for name in ("a.csv", "b.csv", "deep/c.csv", "ab/c.txt"):
        files.write_json(1, f"{root}/{name}")
    assert [f.path for f in files.find(f"{root}/*.csv")] == [f"{root}/a.csv", f"{root}/b.csv"]
    assert [f.path for f in files.find(f"{root}/**/c.*")] == [
        f"{root}/ab/c.txt",
        f"{root}/deep/c.csv",
    ]
    assert files.find(f"{root}/a.csv")[0].size == 2
    assert not files.find(f"{root}/a")
    files.move(f"{root}/deep", f"{root}/other/deep")
    assert not files.exists(f"{root}/deep")
    files.copy(root, str(tmp_path / "copy"))
    names = [os.path.relpath(f.path, tmp_path / "copy") for f in files.files_below(str(tmp_path))]
    assert names == ["a.csv", "ab/c.txt", "b.csv", "other/deep/c.csv"]
    files.delete(f"{root}/a")
    assert files.exists(f"{root}/a.csv")
    files.delete(root)
    assert not files.exists(root)


def test_another_server_is_asked_as_soon_as_it_is_named(bucket, monkeypatch):  # noqa: F811
    files.write_json(1, f"{bucket}/asked.json")
    monkeypatch.setattr(files, "_RETRY_SECONDS", 1)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("STORAGE_EMULATOR_HOST", "http://localhost:1")  # where nothing listens
        with pytest.raises(OSError, match="Could not connect"):
            files.exists(f"{bucket}/asked.json")
    assert files.exists(f"{bucket}/asked.json")


@pytest.fixture(scope="module")
def prepared(bucket, tmp_path_factory) -> str:  # noqa: F811
    """A data set that was prepared on the object store."""
    folder = tmp_path_factory.mktemp("declared")
    (folder / "my.yaml").write_text(DECLARATION)
    with files.open_output(f"{bucket}/log/a.csv") as log:
        log.write(LOG.encode())
    prepare(str(folder / "my.yaml"), f"{bucket}/log", f"{bucket}/data")
    prepare(str(folder / "my.yaml"), f"{bucket}/log", str(folder / "local"))
    names = {f.path.removeprefix(f"{bucket}/data/") for f in files.files_below(f"{bucket}/data")}
    local = {os.path.relpath(f.path, folder / "local") for f in files.files_below(str(folder))}
    assert names == {name for name in local if not name.startswith("..")}
    assert not files.exists(f"{bucket}/data.partial")
    return f"{bucket}/data"


def test_a_finished_data_set_is_not_prepared_again(prepared, bucket, tmp_path):  # noqa: F811
    (tmp_path / "my.yaml").write_text(DECLARATION)
    report = prepare(str(tmp_path / "my.yaml"), f"{bucket}/log", prepared)
    assert report == files.read_json(f"{prepared}/report.json")
    (tmp_path / "my.yaml").write_text(DECLARATION.replace("z_score", "min_max"))
    with pytest.raises(FileExistsError, match="scale of feature price was 'z_score' and is 'min"):
        prepare(str(tmp_path / "my.yaml"), f"{bucket}/log", prepared)


def test_new_rows_are_prepared_like_a_folder_there(prepared, bucket, tmp_path):  # noqa: F811
    out = f"{bucket}/again"
    report = prepare(None, f"{bucket}/log", out, like=prepared)
    assert report["declaration"]["like"] == prepared
    assert report == prepare(None, f"{bucket}/log", out, like=prepared)
    assert read_all(f"{out}/examples") == read_all(f"{prepared}/examples")
    with pytest.raises(FileNotFoundError, match=f"^{bucket}/log holds no prepared data: there is"):
        prepare(None, f"{bucket}/log", str(tmp_path / "out"), like=f"{bucket}/log")


def read_all(folder: str) -> list[bytes]:
    found = []
    for file in files.files_below(folder):
        with files.open_input(file.path) as read:
            found.append(read.read())
    return found


def test_data_without_their_report_are_no_data(prepared, bucket, tmp_path):  # noqa: F811
    files.copy(prepared, f"{bucket}/cut")
    files.delete(f"{bucket}/cut/report.json")
    command = ["train", "--data", f"{bucket}/cut", "--model", "LR", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "there is no report.json" in result.output


def test_data_are_fetched_once_and_anew_when_they_have_changed(prepared, bucket):  # noqa: F811
    copied = f"{bucket}/twice"
    files.copy(prepared, copied)
    local = pathlib.Path(mirrors.local_copy(copied))
    assert mirrors.address_of(str(local)) == copied
    (local / "mark").touch()
    mirrors.local_copy(copied)
    assert (local / "mark").exists()
    report = files.read_json(f"{copied}/report.json")
    files.write_json({**report, "wall_seconds": -1}, f"{copied}/report.json")
    mirrors.local_copy(copied)
    assert not (local / "mark").exists()


def test_days_there_are_joined_there_or_on_the_disk(prepared, bucket, tmp_path):  # noqa: F811
    tuesday, there, here = f"{bucket}/tuesday", f"{bucket}/both", str(tmp_path / "both")
    files.copy(prepared, tuesday)
    for out in (there, here):
        command = ["join", prepared, tuesday, "--out", out]
        for _ in range(2):  # the same again is the report
            assert CliRunner().invoke(main, command).exit_code == 0
        both = mirrors.local_copy(out)
        rows = files.read_json(f"{prepared}/report.json")["rows"]["train"]
        features = FeatureSet.load_fitted(both)
        assert len(read_rows(both, "train", features, 10_000)[1]) == 2 * rows
    assert files.read_json(f"{there}/partitions.json")["samples"] == "../tuesday"
    assert files.read_json(f"{here}/partitions.json")["samples"] == tuesday
    with pytest.raises(FileExistsError, match=f"^{there} exists and holds something else"):
        join([prepared], there)
    files.copy(prepared, here_too := str(tmp_path / "monday"))
    with pytest.raises(ValueError, match=f"^{here_too} is on this disk, and {there} is not: copy"):
        join([here_too], there)
    files.delete(f"{there}/report.json")
    with pytest.raises(FileExistsError, match="exists and is not whole; choose another, or delete"):
        join([prepared, tuesday], there)


@pytest.fixture(scope="module")
def run(prepared, bucket) -> str:  # noqa: F811
    out = f"{bucket}/runs/lr"
    config = read_config(overrides=["epochs=2"], data=prepared, model="LR", out=out)
    train(config)
    return out


def test_a_run_is_there_with_its_addresses_and_nothing_of_the_disk(run, prepared):
    names = {f.path.removeprefix(f"{run}/") for f in files.files_below(run)}
    assert {"config.yaml", "features.json", "history.csv", "metrics.json", "model.keras"} <= names
    assert not {name for name in names if name.startswith("checkpoints")}
    with files.open_input(f"{run}/config.yaml") as file:
        text = file.read().decode()
    assert f"data: {prepared}" in text
    assert f"out: {run}" in text
    assert os.environ["CTR_KERAS_CACHE"] not in text


def test_the_page_of_a_run_is_brought_there(run):
    from ctr_keras.compare.report import write_report

    assert write_report(run) == f"{run}/report.html"
    with files.open_input(f"{run}/report.html") as file:
        assert b'id="calibration"' in file.read()


def test_an_interrupted_run_goes_on_from_what_was_brought_there(prepared, bucket):  # noqa: F811
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise InterruptedError

    settings = ["epochs=3", "evaluations_per_epoch=1", "patience=3"]
    out = f"{bucket}/runs/interrupted"
    config = read_config(overrides=settings, data=prepared, model="LR", out=out)
    with pytest.raises(InterruptedError):
        train(config, [Stop()])
    (state,) = [f.path for f in files.files_below(out) if f.path.endswith("state.json")]
    assert "/checkpoints/1/" in state  # the second round was not brought there
    report = train(config)
    assert report["rounds"] == 3
    assert report == files.read_json(f"{out}/metrics.json")


def test_a_run_is_evaluated_and_exported_there(run, bucket, scored_here):  # noqa: F811
    from serving.export import export_run

    assert evaluate_run(run)["auc"] > 0.9
    out = f"{bucket}/models/lr"
    versions = [export_run(run, out), export_run(run, out)]
    assert versions == [f"{out}/1", f"{out}/2"]
    assert files.exists(f"{out}/1/saved_model.pb")
    first, second = ({f.path.removeprefix(v) for f in files.files_below(v)} for v in versions)
    assert first == second


@pytest.mark.parametrize(
    "command",
    [
        ["search", "--method", "autofis", "--data", ".", "--out", "gs://b/o"],
        ["tune", "--model", "FM", "--data", ".", "--out", "gs://b/o"],
    ],
)
def test_what_cannot_write_to_an_address_says_so(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command)
    assert "gs://b/o: this command writes to the disk; copy the folder then" in result.output
    assert not [*tmp_path.iterdir()]
