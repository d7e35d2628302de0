"""The gRPC API on the official stubs: PredictionService and ModelService."""

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.errors import as_status_error, invalid_argument
from serving.inference import predict
from serving.model_info import SIGNATURE_DEF, model_status, signature_defs
from serving.servables import ModelManager

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_MAX_ERROR_LENGTH = 1024
_WORKERS = 16


class GrpcServer:
    """Serves the gRPC API on a port of its own.

    Args:
        manager: ModelManager. Holds the models.
        host: str. The address to bind.
        port: int. 0 picks a free one.
        max_request_bytes: int. Longer messages are refused.

    Attributes:
        port: int. The port that is bound, once started.

    Example:

    >>> server = GrpcServer(manager, "127.0.0.1", 0, 1 << 20)     # doctest: +SKIP
    >>> server.start()                                            # doctest: +SKIP
    >>> server.port                                               # doctest: +SKIP
    43520
    """

    def __init__(self, manager: ModelManager, host: str, port: int, max_request_bytes: int):
        self.port = port
        self._host = f"[{host}]" if ":" in host else host
        self._server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(_WORKERS, "grpc"),
            options=[
                ("grpc.max_receive_message_length", max_request_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # a port that another server has is an error
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(manager), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(manager), self._server
        )

    def start(self) -> None:
        """Binds the port and answers from then on.

        Raises:
            RuntimeError: if the port cannot be bound.
        """
        self.port = self._server.add_insecure_port(f"{self._host}:{self.port}")
        self._server.start()

    def stop(self, grace_seconds: float) -> threading.Event:
        """Lets the calls under way finish, but takes no new ones.

        Args:
            grace_seconds: float. How long they may take.

        Returns:
            An event that is set when all have ended.
        """
        return self._server.stop(grace_seconds)


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, manager: ModelManager):
        self._manager = manager

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        return _answered(context, self._predict, request)

    def GetModelMetadata(  # noqa: N802
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        return _answered(context, self._metadata, request)

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        with self._manager.lease(*_asked(request)) as servable:
            return predict(servable, request)

    def _metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        _require_spec(request)
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise invalid_argument(f"Metadata field {field} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._manager.lease(*_asked(request)) as servable:
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
            response.metadata[SIGNATURE_DEF].Pack(signature_defs(servable))
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, manager: ModelManager):
        self._manager = manager

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        return _answered(context, self._status, request)

    def _status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        _require_spec(request)
        return model_status(self._manager, request.model_spec.name, _version(request.model_spec))


def _answered(context: grpc.ServicerContext, answer: Callable[[Any], Any], request: Any) -> Any:
    try:
        return answer(request)
    except Exception as error:  # whatever went wrong, the client gets a status
        status = as_status_error(error)
    details = status.message.encode("utf-8", "replace").decode()
    if len(details) > _MAX_ERROR_LENGTH:
        details = details[:_MAX_ERROR_LENGTH] + "...TRUNCATED"
    return context.abort(_CODES[status.code], details)


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def _asked(request: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of the model that a request is for."""
    _require_spec(request)
    spec = request.model_spec
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    label = spec.version_label if spec.WhichOneof("version_choice") == "version_label" else None
    return spec.name, _version(spec), label


def _version(spec: model_pb2.ModelSpec) -> int | None:
    return spec.version.value if spec.HasField("version") else None
