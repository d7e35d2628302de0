"""Which models to serve, and how: TensorFlow Serving's configuration files, read and checked."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from google.protobuf import message, text_format
from tensorflow_serving.config import file_system_storage_path_source_pb2, model_server_config_pb2

from serving.codes import Code, StatusError, invalid_argument
from serving.config_protos import (
    METRICS_PATH,
    PLATFORM,
    BatchingParameters,
    MonitoringConfig,
    SSLConfig,
)

Policy = Callable[[Iterable[int]], set[int]]
_Message = TypeVar("_Message", bound=message.Message)
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9.+-]*://")


def latest(versions: Iterable[int], count: int = 1) -> set[int]:
    """The default version policy: serve the `count` largest numbers.

    Example:

    >>> latest([1, 3, 2])
    {3}
    """
    return set(sorted(versions)[-count:])


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """Which requests to a model are logged, and where.

    Attributes:
        prefix: str. How the files' paths begin.
        sampling_rate: float. The share of the requests.
    """

    prefix: str
    sampling_rate: float


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model to be served.

    Attributes:
        name: str. What requests call it.
        base_path: path of the directory that holds the version directories.
        policy: callable. Version numbers on disk to the set of those to serve.
        labels: mapping. Label to the version it stands for.
        log: LogConfig or None. None: no requests are logged.
    """

    name: str
    base_path: pathlib.Path
    policy: Policy = latest
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    log: LogConfig | None = None


def read_models(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """The models that a `models.config` lists, as `listed_models`; an OSError if unreadable."""
    return listed_models(_read_text(path, model_server_config_pb2.ModelServerConfig()))


def listed_models(config: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """The models that a ModelServerConfig lists.

    Raises:
        StatusError: INVALID_ARGUMENT for a model that is listed twice, has no absolute path, or is
            of an unknown platform.

    Example:

    >>> config = model_server_config_pb2.ModelServerConfig()
    >>> _ = config.model_config_list.config.add(
    ...     name="ctr", base_path="/models/ctr", model_platform="tensorflow"
    ... )
    >>> [model.name for model in listed_models(config)]
    ['ctr']
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise invalid_argument("custom_model_config is not supported. Use model_config_list.")
    models: dict[str, ModelConfig] = {}
    for listed in config.model_config_list.config:
        if listed.name in models:
            raise invalid_argument(
                f"Illegal to list model {listed.name} multiple times in config list"
            )
        models[listed.name] = _model(listed)
    return list(models.values())


def read_batching(path: str | os.PathLike[str]) -> BatchingParameters:
    """Reads a batching parameters file, whose sizes must not contradict each other."""
    parameters: BatchingParameters = _read_text(path, BatchingParameters())
    check_batching(parameters)
    return parameters


def check_batching(parameters: BatchingParameters) -> None:
    """Raises a StatusError, INVALID_ARGUMENT, unless batch sizes fit together."""
    for field, value in parameters.ListFields():
        if field.name in ("max_batch_size", "num_batch_threads", "max_enqueued_batches"):
            if value.value < 1:
                raise invalid_argument(f"{field.name} must be positive; was {value.value}")
        elif field.name == "batch_timeout_micros" and value.value < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {value.value}")
    sizes = list(parameters.allowed_batch_sizes)
    if not sizes:
        return
    if sizes != sorted(set(sizes)) or sizes[0] < 1:
        raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
    splits = parameters.enable_large_batch_splitting.value
    name = "max_execution_batch_size" if splits else "max_batch_size"
    if parameters.HasField(name) and sizes[-1] != getattr(parameters, name).value:
        raise invalid_argument(
            f"Last entry in allowed_batch_sizes must match {name}; last entry was {sizes[-1]}; "
            f"expected {getattr(parameters, name).value}"
        )


def read_metrics_path(path: str | os.PathLike[str]) -> str | None:
    """The path of the metrics page by a monitoring file, or None if it is not enabled."""
    prometheus = _read_text(path, MonitoringConfig()).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None


def read_ssl(path: str | os.PathLike[str]) -> SSLConfig:
    """Reads an SSL file, whose fields hold keys and certificates themselves, as PEM text."""
    return _read_text(path, SSLConfig())


def _read_text(path: str | os.PathLike[str], empty: _Message) -> _Message:
    """Parses a file that holds a message as text; INVALID_ARGUMENT if it does not."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    try:
        parsed: _Message = text_format.Parse(text, empty)
    except text_format.ParseError as error:
        raise invalid_argument(
            f"Error parsing text-format {empty.DESCRIPTOR.full_name}: {error}; "
            f"Invalid protobuf file: '{os.fspath(path)}'"
        ) from error
    return parsed


def _model(listed: model_server_config_pb2.ModelConfig) -> ModelConfig:
    if not listed.name:
        raise invalid_argument("a model in the config list has no name")
    platform = listed.model_platform
    if listed.model_type:  # what models.config had before model_platform
        if platform:
            raise invalid_argument(
                f"Model {listed.name} sets both the deprecated model_type and model_platform"
            )
        platform = model_server_config_pb2.ModelType.Name(listed.model_type).lower()
    if not platform:
        raise invalid_argument(
            f"Illegal setting neither ModelServerConfig::model_type nor "
            f"ModelServerConfig::model_platform for model {listed.name}"
        )
    if platform != PLATFORM:
        raise invalid_argument(
            f"ModelServerConfig had unsupported platform {platform} for model {listed.name}"
        )
    return ModelConfig(
        listed.name,
        absolute_path(listed.name, listed.base_path),
        _policy(listed.model_version_policy),
        dict(listed.version_labels),
        _log(listed) if listed.HasField("logging_config") else None,
    )


def _log(listed: model_server_config_pb2.ModelConfig) -> LogConfig:
    prefix = listed.logging_config.log_collector_config.filename_prefix
    rate = listed.logging_config.sampling_config.sampling_rate
    if not prefix:
        raise invalid_argument(f"logging_config of model {listed.name} has no filename_prefix")
    if not 0 <= rate <= 1:
        raise invalid_argument(
            f"logging_config of model {listed.name}: sampling_rate is 0 to 1, not {rate:g}"
        )
    return LogConfig(prefix, rate)


def absolute_path(name: str, base_path: str) -> pathlib.Path:
    """Checks a model's base path.

    Raises:
        StatusError: INVALID_ARGUMENT if it is not absolute, UNIMPLEMENTED if it is on another
            file system than this machine's.
    """
    if base_path.startswith("file://"):
        base_path = base_path.removeprefix("file://")
    if _URI.match(base_path):
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"model {name}: this server reads local files only; got base_path()={base_path}",
        )
    if not os.path.isabs(base_path):
        raise invalid_argument(
            f"Expected model {name} to have an absolute path or URI; got base_path()={base_path}"
        )
    return pathlib.Path(base_path)


def _policy(
    policy: file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,  # noqa: E501
) -> Policy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return set
    if choice == "specific":
        return set(policy.specific.versions).intersection
    count = max(1, policy.latest.num_versions)
    return lambda versions: latest(versions, count)
