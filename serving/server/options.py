"""The server's options: TensorFlow Serving's flags under their own names, and a few of ours."""

import contextlib
import dataclasses
import os
from typing import Any

from serving.versions import check_models_folder

MAX_REQUEST_BYTES = 100 << 20
_MAX_PORT = 65535
_HERE = "without effect here: "


def _flag(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class ShadowOption:
    """Which version gets a share of the requests as well.

    Attributes:
        label: str. The version's label.
        share: float. The share, above 0 and up to 1.

    Example:

    >>> ShadowOption.of("canary:0.1")
    ShadowOption(label='canary', share=0.1)
    """

    label: str
    share: float

    @classmethod
    def of(cls, text: str) -> "ShadowOption":
        """What `--shadow` says; a ValueError if it makes no sense."""
        label, _, share = text.rpartition(":")
        with contextlib.suppress(ValueError):
            if label and 0 < float(share) <= 1:
                return cls(label, float(share))
        raise ValueError(
            f"--shadow is LABEL:SHARE with a share above 0 and up to 1, such as canary:0.1, "
            f"not {text}"
        )


@dataclasses.dataclass(frozen=True)
class Options:
    """What a `Server` is told; each field is a flag of `ctr-keras serve`.

    Models come from one of three places: `models`, a folder of models, which is ours;
    `model_config_file`; or `model_name` and `model_base_path`. The last two are TensorFlow
    Serving's, and behave as there: the server starts when every model has a version, and a port
    of 0 turns an API off. With `models` it starts with what is there, and 0 is any free port.

    The help text of every field is in its metadata. Those that are accepted without effect in
    this server say so.

    Raises:
        ValueError: if no models are given, or more than one kind, or flags contradict each other,
            or a value is not of its field's type.

    Example:

    >>> Options(model_base_path="/models/ctr").model_name
    'default'
    """

    models: str | None = _flag(None, "Folder of models: each folder in it is one.")
    host: str = _flag("127.0.0.1", "Address to bind; 0.0.0.0 is open to the network.")
    port: int = _flag(8500, "Port of the gRPC API.")
    rest_api_port: int | None = _flag(None, "Port of the REST API. [default: 8501 with --models]")
    grpc_socket_path: str = _flag("", "Also listen for gRPC on this UNIX socket.")
    model_config_file: str = _flag("", "ModelServerConfig as text: the models to serve.")
    model_name: str = _flag("default", "Name of the one model at --model_base_path.")
    model_base_path: str = _flag("", "Absolute path of a model's folder of versions.")
    model_config_file_poll_wait_seconds: float = _flag(
        0, "How often to read --model_config_file again; 0: never."
    )
    file_system_poll_wait_seconds: float = _flag(
        1, "How often to look for versions; 0: once; negative: never."
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Accept new labels of versions that are not available yet."
    )
    max_num_load_retries: int | None = _flag(
        None, "How often to try a failed load again. [default: 5, with --models 0]"
    )
    load_retry_interval_micros: int = _flag(60_000_000, "Time between these tries.")
    num_load_threads: int = _flag(0, "Versions that are loaded at a time; 0 is 1.")
    enable_model_warmup: bool = _flag(True, "Replay a version's warm-up requests.")
    num_request_iterations_for_warmup: int = _flag(0, "How often to replay each; 0 is once.")
    saved_model_tags: str = _flag("serve", "Comma-separated tags of the graph to load.")
    enable_batching: bool = _flag(False, "Run requests that arrive together together.")
    batching_parameters_file: str = _flag("", "BatchingParameters as text.")
    enable_per_model_batching_parameters: bool = _flag(
        False, "Take them from batching_params.pbtxt in each version's folder."
    )
    monitoring_config_file: str = _flag("", "MonitoringConfig as text: turns metrics on.")
    rest_api_num_threads: int = _flag(0, "Threads of the REST API; 0: by the number of cores.")
    rest_api_timeout_in_ms: int = _flag(30_000, "Time that a REST request may take.")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers.")
    grpc_max_threads: int = _flag(0, "Threads of the gRPC API; 0: by the number of cores.")
    grpc_channel_arguments: str = _flag("", "Comma-separated key=value settings of gRPC.")
    ssl_config_file: str = _flag("", "SSLConfig as text: keys and certificates, for gRPC.")
    enable_grpc_healthcheck_service: bool = _flag(False, "Answer grpc.health.v1, too.")
    enable_grpc_reflection: bool = _flag(
        False, "Tell clients such as grpcurl which calls there are."
    )
    enable_signature_method_name_check: bool = _flag(
        False, "Let classify and regress insist on a signature's method_name."
    )
    tensorflow_session_parallelism: int = _flag(0, "Threads of TensorFlow, inside and between ops.")
    tensorflow_intra_op_parallelism: int | None = _flag(
        None, "Threads inside an op; 0: TensorFlow's choice. [default: 1, best for few rows]"
    )
    tensorflow_inter_op_parallelism: int = _flag(0, "Threads between ops; 0: TensorFlow's choice.")
    tensorflow_session_config_file: str = _flag("", "ConfigProto as text: its thread settings.")
    max_request_bytes: int = _flag(MAX_REQUEST_BYTES, "Longer requests are refused.")
    allowed_hosts: str = _flag(
        "", "Comma-separated hosts that browsers may reach it by, next to its own addresses."
    )
    request_log_max_bytes: int = _flag(
        64 << 20, "Size at which a file of logged requests is followed by the next."
    )
    shadow: str = _flag(
        "",
        "LABEL:SHARE: that share of predictions is made by that label's version, too, to compare.",
    )
    access_log: bool = _flag(False, "A line in the log for each request, with its id.")
    tracing: bool = _flag(
        False, "Spans of requests, to where OTEL_EXPORTER_OTLP_ENDPOINT and its kin say."
    )
    log_format: str = _flag("text", "Of lines in the log: text or json.")
    grace_seconds: float = _flag(30, "Time that requests under way may take at the end.")
    num_unload_threads: int = _flag(0, _HERE + "each model unloads in a thread of its own")
    flush_filesystem_caches: bool = _flag(True, _HERE + "caches are left to the system")
    enable_profiler: bool = _flag(True, _HERE + "there is no profiler service")
    mixed_precision: str = _flag("", _HERE + "a model runs as it was saved")
    per_process_gpu_memory_fraction: float = _flag(0, _HERE + "memory is left to TensorFlow")
    prefer_tflite_model: bool = _flag(False, _HERE + "only SavedModels are served")
    xla_cpu_compilation_enabled: bool = _flag(False, _HERE + "a model runs as it was saved")
    enable_serialization_as_tensor_content: bool = _flag(
        False, "Send tensors of gRPC answers as tensor_content."
    )

    def __post_init__(self) -> None:
        from ctr_keras.settings import (
            check_settings,  # here, as `ctr-keras --help` needs flags only
        )

        check_settings(self)
        sources = [self.models, self.model_config_file or self.model_base_path]
        if not any(sources):
            raise ValueError(
                "nothing to serve: give --models, or --model_config_file, or --model_base_path"
            )
        if all(sources):
            raise ValueError("--models cannot be given with TensorFlow Serving's own model flags")
        for name in ("port", "rest_api_port"):
            if not 0 <= (getattr(self, name) or 0) <= _MAX_PORT:
                raise ValueError(f"--{name} is 0 to {_MAX_PORT}, not {getattr(self, name)}")
        if self.log_format not in ("text", "json"):
            raise ValueError(f"--log_format is text or json, not {self.log_format}")
        if self.shadow:
            ShadowOption.of(self.shadow)
            if not self.model_config_file:
                raise ValueError("--shadow needs --model_config_file, which has the labels")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError(
                "--batching_parameters_file is set without setting --enable_batching to true"
            )
        if self.tensorflow_session_parallelism and (
            self.tensorflow_intra_op_parallelism or self.tensorflow_inter_op_parallelism
        ):
            raise ValueError(
                "--tensorflow_session_parallelism excludes --tensorflow_intra_op_parallelism and "
                "--tensorflow_inter_op_parallelism"
            )
        if self.models and not os.path.isdir(self.models):
            raise NotADirectoryError(f"no directory of models: {os.fspath(self.models)}")
        if self.models:
            check_models_folder(self.models)

    @property
    def load_retries(self) -> int:
        """How often a failed load is tried again."""
        if self.max_num_load_retries is None:
            return 0 if self.models else 5
        return self.max_num_load_retries

    @property
    def rest_port(self) -> int | None:
        """The port to bind for REST; 0 is any, None means no REST."""
        given = (8501 if self.models else 0) if self.rest_api_port is None else self.rest_api_port
        return given if given or self.models else None

    @property
    def host_in_url(self) -> str:
        """The host as it stands before a port: an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def grpc_port(self) -> int | None:
        """The port to bind for gRPC; 0 is any, None means none."""
        return self.port if self.port or self.models else None

    def workers(self, asked: int) -> int:
        """Threads of an API: as asked, or enough that requests can meet in a batch."""
        return asked or max(4 * (os.cpu_count() or 1), 64 if self.enable_batching else 16)

    def without_effect(self) -> list[str]:
        """What was set and changes nothing, as lines to print."""
        return [
            f"--{field.name} is accepted, {field.metadata['help']}"
            for field in dataclasses.fields(self)
            if field.metadata["help"].startswith(_HERE)
            and getattr(self, field.name) != field.default
        ]
