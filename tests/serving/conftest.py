"""What tests that do not change it share: a server of toy models, prepared data, an export."""

import pathlib
from typing import NamedTuple

import grpc
import keras
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from ctr_keras.features import FeatureSet
from ctr_keras.models import AutoInt
from serving.export import ExportOptions, export_model
from serving.server.server import Server
from tests.prepared import made_once
from tests.serving import toy_models
from tests.serving.click_log import prepare_clicks, scrambled
from tests.serving.conformance import served_elsewhere


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    if elsewhere := served_elsewhere():
        yield elsewhere
        return
    models = tmp_path_factory.mktemp("models")
    toy_models.save_all(models)
    with Server(models, rest_api_port=0, port=0, file_system_poll_wait_seconds=3600) as running:
        yield running


@pytest.fixture(scope="session")
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as opened:
        yield opened


@pytest.fixture(scope="session")
def prediction_service(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="session")
def model_service(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture(scope="session")
def clicks(tmp_path_factory):
    """Prepared data with every kind of feature."""
    return prepare_clicks(tmp_path_factory)


class Exported(NamedTuple):
    """A model and the version that it was exported to."""

    model: keras.Model
    version: pathlib.Path


@pytest.fixture(scope="session")
def autoint(clicks, tmp_path_factory):
    """An AutoInt on the clicks, exported as `ctr/1` of a folder of models."""
    features = FeatureSet.load(clicks / "features.json")
    model = scrambled(AutoInt(features, dim=4, layers=2, head_dim=4, heads=2, crossed=True))

    def export(models):
        export_model(model, features, str(clicks), str(models / "ctr"), ExportOptions(force=True))

    return Exported(model, made_once("autoint", export, tmp_path_factory) / "ctr" / "1")
