"""The gRPC API on the official stubs: PredictionService and ModelService."""

import concurrent.futures
import functools
import ssl
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.codes import Code, StatusError, invalid_argument
from serving.server.access_log import REQUEST_ID, Request
from serving.server.config import read_ssl
from serving.server.core import Core
from serving.server.errors import as_status_error
from serving.server.inference import (
    classify,
    example_count,
    first_task,
    multi_inference,
    predict,
    regress,
)
from serving.server.model_info import SIGNATURE_DEF, model_status, signature_defs
from serving.server.options import Options
from serving.server.request_log import of_messages
from serving.server.savedmodel import Servable

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OUR_FAULTS = (
    *(Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED),
    *(Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS),
)
_MAX_ERROR_LENGTH = 1024
_SERVICES = {  # calls and what they take
    "PredictionService": (
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
        ("Predict", predict_pb2.PredictRequest),
        ("MultiInference", inference_pb2.MultiInferenceRequest),
        ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest),
    ),
    "ModelService": (
        ("GetModelStatus", get_model_status_pb2.GetModelStatusRequest),
        ("HandleReloadConfigRequest", model_management_pb2.ReloadConfigRequest),
    ),
}


class GrpcServer:
    """Serves the gRPC API on a port of its own, and on a UNIX socket if asked to.

    Attributes:
        port: int. The port that is bound, once started.

    Example:

    >>> options = Options(models="models", port=0)
    >>> server = GrpcServer(Core(options), options)
    >>> server.start()
    >>> server.port > 0
    True
    >>> server.stop(0).wait()
    True
    """

    def __init__(self, core: Core, options: Options):
        self.port = options.grpc_port or 0
        self._host = options.host_in_url
        self._socket_path = options.grpc_socket_path
        self._credentials = _credentials(options.ssl_config_file)
        workers = options.workers(options.grpc_max_threads)
        self._workers = concurrent.futures.ThreadPoolExecutor(workers, "grpc")
        self._server = grpc.server(self._workers, options=list(_channel_arguments(options).items()))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(core, options), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(core, options), self._server
        )
        if options.enable_grpc_healthcheck_service:
            _add_health(self._server)
        if options.enable_grpc_reflection:
            _add_reflection(self._server)

    def start(self) -> None:
        """Binds the port and answers from then on; a RuntimeError if it cannot be bound."""
        self.port = self._bind(f"{self._host}:{self.port}")
        if self._socket_path:
            self._server.add_insecure_port(f"unix:{self._socket_path}")
        self._server.start()

    def stop(self, grace_seconds: float) -> threading.Event:
        """Takes no new calls; the event is set when those under way have ended."""
        ended: threading.Event = self._server.stop(grace_seconds)
        return ended

    def close(self) -> None:
        """Lets the workers end, once the server has stopped."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _bind(self, address: str) -> int:
        if self._credentials:
            return int(self._server.add_secure_port(address, self._credentials))
        return int(self._server.add_insecure_port(address))


def _call(answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    """A call of a service, from a method that takes a request and returns or raises its answer."""

    @functools.wraps(answer)
    def call(service: Any, request: Any, context: grpc.ServicerContext) -> Any:
        given = dict(context.invocation_metadata())
        asked = Request.of(answer.__name__, "gRPC", given.get(REQUEST_ID))
        context.set_trailing_metadata([(REQUEST_ID, asked.id)])
        with service.tracing.request(asked, given) as answered:
            try:
                remaining = context.time_remaining()
                if remaining is not None and remaining <= 0:  # it has waited for a thread too long
                    raise StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
                response = answer(service, request)
                status = None
            except Exception as error:  # whatever went wrong, the client gets a status
                status = as_status_error(error)
            code = status.code if status else Code.OK
            answered(_CODES[code].name, code in _OUR_FAULTS)
        if service.access_log:
            asked.log_answer(_CODES[code].name)
        if status is None:
            return response
        details = status.message.encode("utf-8", "replace").decode()
        if len(details) > _MAX_ERROR_LENGTH:
            details = details[:_MAX_ERROR_LENGTH] + "...TRUNCATED"
        return context.abort(_CODES[status.code], details)

    return call


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core: Core, options: Options):
        self.access_log = options.access_log
        self.tracing = core.tracing
        self._manager = core.manager
        self._run = core.run
        self._metrics = core.metrics
        self._answered = core.answered
        self._predict = functools.partial(
            predict, as_content=options.enable_serialization_as_tensor_content
        )

    @_call
    def Predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        return self._infer("Predict", self._predict, request)

    @_call
    def Classify(
        self, request: classification_pb2.ClassificationRequest
    ) -> classification_pb2.ClassificationResponse:
        return self._infer("Classify", classify, request)

    @_call
    def Regress(
        self, request: regression_pb2.RegressionRequest
    ) -> regression_pb2.RegressionResponse:
        return self._infer("Regress", regress, request)

    def _infer(self, api: str, infer: Callable[[Servable, Any], Any], request: Any) -> Any:
        with self._metrics.request(request.model_spec.name, api, "GRPC"):
            with (
                self._manager.lease(*_asked(request)) as servable,
                self._run(servable.name, api),
            ):
                response = infer(servable, request)
            if api != "Predict":
                self._metrics.count_examples(request.model_spec.name, example_count(request))
            self._answered(servable, of_messages(f"{api.lower()}_log", request, response))
            return response

    @_call
    def MultiInference(
        self, request: inference_pb2.MultiInferenceRequest
    ) -> inference_pb2.MultiInferenceResponse:
        with self._manager.lease(*_asked(first_task(request))) as servable:
            response = multi_inference(servable, request)
        self._metrics.count_examples(servable.name, example_count(request))
        self._answered(servable, of_messages("multi_inference_log", request, response))
        return response

    @_call
    def GetModelMetadata(
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
    def __init__(self, core: Core, options: Options):
        self.access_log = options.access_log
        self.tracing = core.tracing
        self._core = core

    @_call
    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        _require_spec(request)
        spec = request.model_spec
        return model_status(self._core.manager, spec.name, _version(spec))

    @_call
    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest
    ) -> model_management_pb2.ReloadConfigResponse:
        before = self._core.metrics.totals(request.metric_names)
        self._core.reload(request.config)
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = Code.OK
        for name, total in self._core.metrics.totals(request.metric_names).items():
            response.metric.add(name=name, int64_value_increase=total - before[name])
        return response


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


def _credentials(ssl_config_file: str) -> grpc.ServerCredentials | None:
    if not ssl_config_file:
        return None
    config = read_ssl(ssl_config_file)
    try:
        _check_keys(config.server_key, config.server_cert, config.custom_ca)
    except ssl.SSLError as error:  # gRPC would say that it cannot bind its port
        raise invalid_argument(
            f"The key and certificates in {ssl_config_file} cannot be used: {error}"
        ) from error
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _check_keys(key: str, certificate: str, authorities: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authorities or None)
    with tempfile.NamedTemporaryFile("w") as file:  # which no one else may read
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        context.load_cert_chain(file.name, password=lambda: "")  # or it asks for one


def _channel_arguments(options: Options) -> dict[str, int | str]:
    """Settings of gRPC: ours, and over them those of the flag; numbers as numbers."""
    arguments: dict[str, int | str] = {
        "grpc.max_receive_message_length": options.max_request_bytes,
        "grpc.max_send_message_length": -1,
        "grpc.so_reuseport": 0,  # a port that another server has is an error
        "grpc.server_handshake_timeout_ms": 30_000,  # for who connects and says nothing
    }
    for pair in filter(None, options.grpc_channel_arguments.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise invalid_argument(f"--grpc_channel_arguments: {key} has no =value")
        arguments[key] = int(value) if value.lstrip("-").isdigit() else value
    return arguments


def _add_health(server: grpc.Server) -> None:
    """As in TensorFlow Serving, health is that of the ports and not of the models."""
    servicer = health.HealthServicer()
    for service in ("", *_SERVICES):
        servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)


def _add_reflection(server: grpc.Server) -> None:
    from grpc_reflection.v1alpha import reflection

    names = [_describe(service, calls) for service, calls in _SERVICES.items()]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)


@functools.cache
def _describe(service: str, calls: tuple[tuple[str, Any], ...]) -> str:
    """Makes a service known by its calls, and gives its full name.

    The descriptions in the package of TensorFlow Serving cannot be imported: they are of an older
    protobuf.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"serving/{service}.proto", package="tensorflow.serving", syntax="proto3"
    )
    described = file.service.add(name=service)
    for name, request in calls:
        asked = request.DESCRIPTOR
        answer = asked.full_name.replace("Request", "Response")
        described.method.add(name=name, input_type=f".{asked.full_name}", output_type=f".{answer}")
        if asked.file.name not in file.dependency:
            file.dependency.append(asked.file.name)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return f"{file.package}.{service}"
