"""Labels move to other versions and back, in the file and in a server."""

import json
import re
import shutil

import httpx
import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from serving import commands
from serving.deploy import Deployment, assign, promote, rollback, write_deployment
from serving.server.config import read_models
from serving.server.server import Server
from tests.serving import toy_models
from tests.serving.processes import free_port
from tests.serving.toy_models import wait_for_state


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model whose versions 7, 8 and 9 multiply by their number."""
    folder = tmp_path_factory.mktemp("labels")
    for version in (7, 8, 9):
        toy_models.save_times(str(folder / "toy" / str(version)), version)
    return folder


@pytest.fixture
def config(models, tmp_path):
    labels = {"toy": {"stable": 7, "canary": 8}}
    write_deployment(Deployment(str(models), labels=labels, base_path=str(models)), str(tmp_path))
    return tmp_path / "models.config"


def test_a_promoted_label_and_the_version_before_it_are_served_until_it_is_moved_back(config):
    moved = {"canary": 8, "stable": 8, "stable-previous": 7}
    assert promote(str(config), "toy", "canary", to="stable") == moved
    assert promote(str(config), "toy", "canary", to="stable") == moved  # and does not forget
    (model,) = read_models(config)
    assert model.labels == moved
    assert model.policy([6, 7, 8, 9]) == {7, 8}
    back = {"canary": 8, "stable": 7, "stable-previous": 8}
    assert rollback(str(config), "toy", "stable") == back
    assert rollback(str(config), "toy", "stable") == moved


def test_a_new_version_gets_a_label_and_the_one_before_it_stays_served(config):
    given = assign(str(config), "toy", "canary", 9)
    assert given == {"canary": 9, "canary-previous": 8, "stable": 7}
    (model,) = read_models(config)
    assert model.policy([6, 7, 8, 9]) == {7, 8, 9}
    assert rollback(str(config), "toy", "canary")["canary"] == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--label", "canary"], "--label and --config go together"),
        (["--config", "c"], "--label and --config go together"),
        (["--url", "grpc://h:1"], "--url with both"),
        (["--label", "canary", "--config", "{config}", "--format", "onnx"], "--label is for serv"),
        (["--label", "canary", "--config", "{config}"], "has no model 'toi'; did you mean 'toy'"),
        (
            ["--label", "canary", "--config", "{config}", "--url", "http://h:1", "--out", "m/toy"],
            "url must be like grpc://localhost:8500",
        ),
    ],
)
def test_what_export_cannot_label_is_said_before_it_begins(given, message, config, tmp_path):
    given = [of.format(config=config) for of in given]
    result = export(tmp_path, "--out", "m/toi", *given)
    assert message in result.output
    assert result.exit_code in (1, 2)


def test_export_labels_the_version_that_it_has_published(config, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.export.export_run", lambda run, out, *_: f"{out}/9")
    result = export(tmp_path, "--out", "m/toy", "--label", "canary", "--config", str(config))
    published, labels = result.output.splitlines()
    assert published == "m/toy/9"
    assert json.loads(labels) == {"canary": 9, "canary-previous": 8, "stable": 7}


def export(run, *given):
    for name in ("config.yaml", "features.json"):  # of a run
        (run / name).touch()
    return CliRunner().invoke(main, ["export", "--run", str(run), *given])


@pytest.mark.parametrize(
    ("model", "label", "message"),
    [
        ("toi", "canary", "has no model 'toi'; did you mean 'toy'"),
        ("toy", "canery", "toy: there is no label 'canery'; did you mean 'canary'"),
    ],
)
def test_a_wrong_name_is_one_line_and_leaves_the_file(model, label, message, config):
    before = config.read_text()
    with pytest.raises(ValueError, match=message) as caught:
        promote(str(config), model, label, to="stable")
    assert "\n" not in str(caught.value)
    assert config.read_text() == before


def test_what_cannot_be_moved_back_or_is_no_configuration_is_said(config, tmp_path):
    with pytest.raises(ValueError, match="toy: there is no label 'stable-previous'"):
        rollback(str(config), "toy", "stable")
    (tmp_path / "x").write_text("models: {")
    with pytest.raises(ValueError, match=r"x is no models\.config: "):
        rollback(str(tmp_path / "x"), "toy", "stable")


@pytest.fixture
def server(config):
    with Server(
        model_config_file=str(config),
        rest_api_port=free_port(),
        port=free_port(),
        allow_version_labels_for_unavailable_models=True,
        max_num_load_retries=0,
    ) as running:
        for version in (7, 8):
            wait_for_state(running, "toy", version, "AVAILABLE")
        yield running


def stable(server):
    """What the version of the label multiplies by."""
    url = f"http://{server.rest_address}/v1/models/toy/labels/stable:predict"
    return httpx.post(url, json={"instances": [1.0]}).json()["predictions"]


def test_a_server_takes_the_labels_or_the_file_stays_as_it_is(config, server):
    url = f"grpc://{server.grpc_address}"
    given = ["--config", str(config), "--model", "toy", "--url", url]
    assert stable(server) == [7]
    result = CliRunner().invoke(commands.promote, [*given, "--label", "canary", "--to", "stable"])
    assert json.loads(result.output)["stable"] == 8
    assert stable(server) == [8]
    CliRunner().invoke(commands.rollback, [*given, "--label", "stable"])
    assert stable(server) == [7]

    text = re.sub(r'("canary"\s+value: )8', r"\g<1>9", config.read_text())
    config.write_text(text)
    with pytest.raises(RuntimeError, match="does not take the labels: Request to assign label"):
        promote(str(config), "toy", "canary", to="stable", url=url)
    assert config.read_text() == text
    assert stable(server) == [7]


def test_a_server_loads_a_version_before_its_label_or_stays_as_it_is(config, server, models):
    url = f"grpc://{server.grpc_address}"
    assert assign(str(config), "toy", "stable", 9, url)["stable"] == 9
    assert stable(server) == [9]
    before = config.read_text()
    broken = models / "toy" / "10"
    shutil.copytree(models / "toy" / "9", broken)
    (broken / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"cannot load version 10 of toy: .*parse"):
        assign(str(config), "toy", "stable", 10, url)
    shutil.rmtree(broken)
    assert (config.read_text(), stable(server)) == (before, [9])
    # The server has the configuration before: it takes the next one.
    assert rollback(str(config), "toy", "stable", url)["stable"] == 7
    assert stable(server) == [7]
