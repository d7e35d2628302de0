"""TensorFlow Serving's configuration messages that its package on PyPI lacks.

Fields have the names and types of the original files, so that a configuration made for the real
server parses here and the other way round. Only text is exchanged, so field numbers do not matter.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

PLATFORM = "tensorflow"  # of a model: a SavedModel
METRICS_PATH = "/monitoring/prometheus/metrics"  # unless MonitoringConfig has another

_FIELD = descriptor_pb2.FieldDescriptorProto
_WRAPPER = ".google.protobuf."
_PACKAGE = "tensorflow.serving"

_BATCHING = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "allowed_batch_sizes": _FIELD.TYPE_INT64,  # the one repeated field
    "pad_variable_length_inputs": _FIELD.TYPE_BOOL,
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}
_PROMETHEUS = {"enable": _FIELD.TYPE_BOOL, "path": _FIELD.TYPE_STRING}
_SSL = {
    "server_key": _FIELD.TYPE_STRING,
    "server_cert": _FIELD.TYPE_STRING,
    "custom_ca": _FIELD.TYPE_STRING,
    "client_verify": _FIELD.TYPE_BOOL,
}


def _add_message(file: Any, name: str, fields: dict[str, Any]) -> None:
    """Adds a message; a field's type is a `TYPE_` constant or the name of a message."""
    message = file.message_type.add(name=name)
    for number, (field_name, kind) in enumerate(fields.items(), start=1):
        repeated = field_name == "allowed_batch_sizes"
        field = message.field.add(name=field_name, number=number)
        field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
        field.type = _FIELD.TYPE_MESSAGE if isinstance(kind, str) else kind
        if isinstance(kind, str):
            field.type_name = f".{_PACKAGE}.{kind}" if "Config" in kind else _WRAPPER + kind


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="serving/config_protos.proto", package=_PACKAGE, syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    _add_message(file, "BatchingParameters", _BATCHING)
    _add_message(file, "PrometheusConfig", _PROMETHEUS)
    _add_message(file, "MonitoringConfig", {"prometheus_config": "PrometheusConfig"})
    _add_message(file, "SSLConfig", _SSL)
    pool = descriptor_pool.DescriptorPool()  # of our own: the names belong to TensorFlow Serving
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}")
        )
        for message in file.message_type
    }


_ALL = _messages()
BatchingParameters = _ALL["BatchingParameters"]
MonitoringConfig = _ALL["MonitoringConfig"]
SSLConfig = _ALL["SSLConfig"]
