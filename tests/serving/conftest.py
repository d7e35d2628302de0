"""One server with the toy models, shared by all tests that do not change it."""

import grpc
import pytest
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server import Server
from tests.serving import toy_models


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    toy_models.save_toy(str(models / "toy" / "7"))
    toy_models.save_times(str(models / "odd name:%" / "3"), 3)
    toy_models.save_with_defaults(str(models / "defaults" / "1"))
    toy_models.save_tf1(str(models / "tf1" / "00000123"))
    with Server(models, rest_api_port=0, port=0, poll_seconds=3600) as running:
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
