"""`verify` finds skew: it names the column whose ids, or the model whose scores, have changed."""

import json
import shutil

import keras
import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from ctr_keras.features import FeatureSet
from serving.export import ExportOptions, export_model
from serving.export.export import SCORES_PATH
from serving.server.server import Server
from serving.verify import verify

COLUMNS = {"user", "device", "age", "item", "price", "genres", "history"}
COLUMNS |= {"user_x_item", "user_x_device", "score"}


@pytest.fixture
def copied(autoint, tmp_path):
    """A folder with one model, a copy to be spoiled."""
    shutil.copytree(autoint.version, tmp_path / "models" / "ctr" / "1")
    return tmp_path / "models"


def differences(folder, clicks):
    found = verify(str(folder), str(clicks))
    return {(c.url.partition(":")[0], c.column): c for c in found if c.different}


def test_an_exported_model_has_no_skew_over_both_protocols(autoint, clicks):
    found = list(verify(str(autoint.version.parents[1]), str(clicks)))
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


def test_a_changed_weight_shows_in_the_score_alone(autoint, copied, clicks):
    model = keras.models.clone_model(autoint.model)
    model.set_weights(autoint.model.get_weights())
    bias = model.get_layer("logit").bias
    bias.assign(bias + 0.01)
    features = FeatureSet.load(clicks / "features.json")
    export_model(model, features, str(clicks), str(copied / "ctr"), ExportOptions(force=True))
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


def test_the_command_fails_where_a_running_server_differs(copied, clicks):
    path = copied / "ctr" / "1" / SCORES_PATH
    with Server(str(copied), rest_api_port=0, port=0) as server:
        command = ["verify", "--models", str(copied), "--data", str(clicks)]
        command += ["--url", f"grpc://{server.grpc_address}"]
        alike = CliRunner().invoke(main, command)
        content = json.loads(path.read_text())
        content["scores"][0] += 0.1
        path.write_text(json.dumps(content))
        skewed = CliRunner().invoke(main, command)
    assert alike.exit_code == 0, alike.output
    lines = alike.output.splitlines()
    assert lines[len(COLUMNS) :] == [f"No difference in {len(COLUMNS)} comparisons"]
    assert skewed.exit_code == 1
    assert skewed.output.endswith(f"DIFFERENT in {len(COLUMNS)} comparisons: ctr score\n")
    assert "score: 1 of " in skewed.output
