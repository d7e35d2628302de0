"""One server with the toy models, shared by all tests that do not change it."""

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.server import Server
from tests.serving import toy_models
from tests.serving.click_log import prepare_clicks


@pytest.fixture(scope="session")
def server(tmp_path_factory):
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
    return prepare_clicks(tmp_path_factory.mktemp("clicks"))
