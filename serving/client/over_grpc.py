"""The gRPC API on the official stubs (which import TensorFlow)."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.client.examples import Classes, Features, OfExamples
from serving.client.model import Metadata, ModelSpec, Signature, TensorInfo, VersionStatus
from serving.client.retries import Deadline, ServingError
from serving.client.transport import settled
from serving.client.values import decode
from serving.codes import Code
from serving.tensors import to_array, to_proto
from serving.types import Arrays

_SIGNATURE_DEF = "signature_def"
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # `Retry` does it
    # A channel that lost its server fails calls until its next attempt to connect, by default
    # after a second: longer than a call is tried again. gRPC takes no less than 100 ms.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
_LIST_FIELDS = {bytes: "bytes_list", float: "float_list", int: "int64_list"}


class GrpcTransport:
    """Asks over a gRPC channel; one that does not block needs a running event loop."""

    def __init__(self, address: str, blocking: bool):
        library = grpc if blocking else grpc.aio
        self._channel = library.insecure_channel(address, options=_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    async def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Arrays, deadline: Deadline
    ) -> Arrays:
        request = predict_pb2.PredictRequest(model_spec=_spec_proto(spec, signature.name))
        for name, array in inputs.items():
            dtype = types_pb2.DataType.Value(signature.inputs[name].dtype)
            request.inputs[name].CopyFrom(to_proto(array, dtype, as_content=True))
        response = await _ask(self._predictions.Predict, request, deadline)
        return {name: decode(name, to_array(proto)) for name, proto in response.outputs.items()}

    async def classify(self, asked: OfExamples, deadline: Deadline) -> Classes:
        request = classification_pb2.ClassificationRequest(
            model_spec=_spec_proto(asked.spec, asked.signature_name), input=_input_proto(asked)
        )
        response = await _ask(self._predictions.Classify, request, deadline)
        return [
            [(found.label, found.score) for found in row.classes]
            for row in response.result.classifications
        ]

    async def regress(self, asked: OfExamples, deadline: Deadline) -> list[float]:
        request = regression_pb2.RegressionRequest(
            model_spec=_spec_proto(asked.spec, asked.signature_name), input=_input_proto(asked)
        )
        response = await _ask(self._predictions.Regress, request, deadline)
        return [row.value for row in response.result.regressions]

    async def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=_spec_proto(spec), metadata_field=[_SIGNATURE_DEF]
        )
        response = await _ask(self._predictions.GetModelMetadata, request, deadline)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[_SIGNATURE_DEF].Unpack(definitions)
        return Metadata(
            response.model_spec.name,
            response.model_spec.version.value,
            {
                name: Signature(
                    name,
                    _tensor_infos(definition.inputs),
                    _tensor_infos(definition.outputs),
                    definition.method_name,
                )
                for name, definition in definitions.signature_def.items()
            },
        )

    async def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_spec_proto(spec))
        response = await _ask(self._models.GetModelStatus, request, deadline)
        return [
            VersionStatus(
                found.version,
                get_model_status_pb2.ModelVersionStatus.State.Name(found.state),
                Code(found.status.error_code).name,
                found.status.error_message,
            )
            for found in response.model_version_status
        ]

    async def names(self, deadline: Deadline) -> list[str]:
        return []

    async def close(self) -> None:
        await settled(self._channel.close())


async def _ask(method: Callable[..., Any], request: message.Message, deadline: Deadline) -> Any:
    try:
        return await settled(method(request, timeout=deadline.remaining()))
    except grpc.RpcError as error:
        code = Code[error.code().name]
        raise ServingError(code, error.details(), code == Code.UNAVAILABLE) from error


def _spec_proto(spec: ModelSpec, signature_name: str = "") -> model_pb2.ModelSpec:
    proto = model_pb2.ModelSpec(name=spec.name, signature_name=signature_name)
    if spec.version is not None:
        proto.version.value = spec.version
    if spec.label is not None:
        proto.version_label = spec.label
    return proto


def _input_proto(asked: OfExamples) -> input_pb2.Input:
    protos = [_example_proto(features) for features in asked.examples]
    if not asked.context:
        return input_pb2.Input(example_list=input_pb2.ExampleList(examples=protos))
    return input_pb2.Input(
        example_list_with_context=input_pb2.ExampleListWithContext(
            examples=protos, context=_example_proto(asked.context)
        )
    )


def _example_proto(features: Features) -> example_pb2.Example:
    example = example_pb2.Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        if values:
            getattr(feature, _LIST_FIELDS[type(values[0])]).value.extend(values)
    return example


def _tensor_infos(infos: dict[str, meta_graph_pb2.TensorInfo]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(types_pb2.DataType.Name(info.dtype), _shape(info.tensor_shape))
        for name, info in infos.items()
    }


def _shape(shape: Any) -> tuple[int, ...] | None:
    return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)
