"""`verify` finds skew: it names the column whose ids, or the model whose scores, have changed."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from ctr_keras.features import FeatureSet
from ctr_keras.models import AutoInt
from serving.export.export import SCORES_PATH, ExportOptions, export_model
from serving.export.verify import verify
from serving.server.server import Server
from tests.serving.click_log import scrambled

COLUMNS = {"user", "device", "age", "item", "price", "genres", "history"}
COLUMNS |= {"user_x_item", "user_x_device", "score"}


def small_model(clicks):
    features = FeatureSet.load(clicks / "features.json")
    return scrambled(AutoInt(features, dim=4, layers=1, head_dim=4))


def export(model, clicks, folder):
    features = FeatureSet.load(clicks / "features.json")
    export_model(model, features, str(clicks), str(folder / "ctr"), ExportOptions(force=True))


@pytest.fixture(scope="module")
def models(clicks, tmp_path_factory):
    """A folder with one model, as it was exported."""
    folder = tmp_path_factory.mktemp("models")
    export(small_model(clicks), clicks, folder)
    return folder


@pytest.fixture
def copied(models, tmp_path):
    """A copy of it, to be spoiled."""
    return pathlib.Path(shutil.copytree(models, tmp_path / "models"))


def differences(folder, clicks):
    found = verify(str(folder), str(clicks))
    return {(c.url.partition(":")[0], c.column): c for c in found if c.different}


def test_an_exported_model_has_no_skew_over_both_protocols(models, clicks):
    found = list(verify(str(models), str(clicks)))
    rows = len((clicks / "samples.jsonl").read_text().splitlines())
    assert rows > 300
    assert all(c.rows == rows and not c.different for c in found)
    for protocol in ("http", "grpc"):
        assert {c.column for c in found if c.url.startswith(protocol)} == COLUMNS


def test_a_changed_vocabulary_shows_in_its_column(copied, clicks):
    path = copied / "ctr" / "1" / "assets" / "vocabulary"
    lines = path.read_text().splitlines(keepends=True)
    first, second = lines.index("item=i1\n"), lines.index("item=i2\n")
    lines[first], lines[second] = lines[second], lines[first]
    path.write_text("".join(lines))
    found = differences(copied, clicks)
    for protocol in ("http", "grpc"):
        assert found[protocol, "item"].different > 5
        assert (protocol, "history") in found  # which shares its vocabulary
        assert (protocol, "score") in found
        assert (protocol, "user") not in found
    assert "rows differ; row " in str(found["http", "item"])
    assert "ctr 1 http://127.0.0.1:" in str(found["http", "item"])


def test_a_changed_weight_shows_in_the_score_alone(copied, clicks):
    model = small_model(clicks)
    bias = model.get_layer("logit").bias
    bias.assign(bias + 0.01)
    export(model, clicks, copied)
    shutil.copy(copied / "ctr" / "1" / SCORES_PATH, copied / "ctr" / "2" / SCORES_PATH)
    assert {column for _, column in differences(copied, clicks)} == {"score"}


def test_other_data_and_foreign_models_are_refused(copied, clicks, tmp_path):
    other = shutil.copytree(clicks, tmp_path / "other")
    lines = (other / "samples.jsonl").read_text().splitlines(keepends=True)
    (other / "samples.jsonl").write_text("".join([*lines[1:], lines[0]]))
    with pytest.raises(ValueError, match="was exported with other prepared data than"):
        list(verify(str(copied), str(other)))
    with pytest.raises(FileNotFoundError, match="nobody holds no version"):
        list(verify(str(copied), str(clicks), model="nobody"))
    (copied / "ctr" / "1" / SCORES_PATH).unlink()
    with pytest.raises(FileNotFoundError, match="`ctr-keras export` writes it"):
        list(verify(str(copied), str(clicks)))


@pytest.mark.slow
def test_the_command_fails_where_a_running_server_differs(copied, clicks):
    path = copied / "ctr" / "1" / SCORES_PATH
    with Server(str(copied), rest_api_port=0, port=0) as server:
        command = [sys.executable, "-m", "ctr_keras.cli", "verify", "--models", str(copied)]
        command += ["--data", str(clicks), "--url", f"grpc://{server.grpc_address}"]
        alike = subprocess.run(command, capture_output=True, text=True)
        content = json.loads(path.read_text())
        content["scores"][0] += 0.1
        path.write_text(json.dumps(content))
        skewed = subprocess.run(command, capture_output=True, text=True)
    assert alike.returncode == 0, alike.stderr
    assert len(alike.stdout.splitlines()) == len(COLUMNS)
    assert skewed.returncode == 1
    assert "score: 1 of " in skewed.stdout
