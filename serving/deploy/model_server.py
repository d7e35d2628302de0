"""TensorFlow Serving's own configuration: its three files, and the flags that name them."""

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.config_protos import METRICS_PATH, PLATFORM, BatchingParameters, MonitoringConfig
from serving.deploy.deployment import GRPC_PORT, REST_PORT, Deployment

MODELS, BATCHING, MONITORING = "models.config", "batching.config", "monitoring.config"

_BATCH_ROWS = 128  # rows that are run at once
_REQUEST_ROWS = 1024  # of the longest request, which is split


def config_files(deployment: Deployment) -> dict[str, str]:
    """Texts of the configuration files by name."""
    return {
        MODELS: text_format.MessageToString(_models(deployment)),
        BATCHING: text_format.MessageToString(_batching(deployment)),
        MONITORING: text_format.MessageToString(_monitoring()),
    }


def flags(deployment: Deployment) -> list[str]:
    """Arguments of tensorflow_model_server."""
    given = {
        "port": GRPC_PORT,
        "rest_api_port": REST_PORT,
        "model_config_file": deployment.config_file(MODELS),
        "monitoring_config_file": deployment.config_file(MONITORING),
        # Of few rows, an op is over before others could help with it.
        "tensorflow_intra_op_parallelism": 1,
        # The server sizes its pools by the cores of the machine, not by those it may use.
        "tensorflow_inter_op_parallelism": deployment.cpus,
    }
    if deployment.labels:  # at the start no version is available yet, and without this it fails
        given["allow_version_labels_for_unavailable_models"] = "true"
    if deployment.batching:
        given["enable_batching"] = "true"
        given["batching_parameters_file"] = deployment.config_file(BATCHING)
    return [f"--{flag}={value}" for flag, value in given.items()]


def _models(deployment: Deployment) -> model_server_config_pb2.ModelServerConfig:
    config = model_server_config_pb2.ModelServerConfig()
    for name in deployment.models:
        model = config.model_config_list.config.add(
            name=name, base_path=deployment.path_of(name), model_platform=PLATFORM
        )
        if labels := deployment.labels.get(name):
            model.version_labels.update(labels)
            model.model_version_policy.specific.versions.extend(sorted(set(labels.values())))
        else:
            model.model_version_policy.latest.num_versions = 1
    return config


def _batching(deployment: Deployment) -> BatchingParameters:
    parameters = BatchingParameters()
    parameters.num_batch_threads.value = deployment.cpus
    # No waiting for company: batches form by themselves while all threads are busy.
    parameters.batch_timeout_micros.value = 0
    parameters.max_batch_size.value = _REQUEST_ROWS
    parameters.pad_variable_length_inputs = True  # lists of candidates for `rank`
    parameters.enable_large_batch_splitting.value = True
    parameters.max_execution_batch_size.value = _BATCH_ROWS
    # Room for the longest request and a batch a thread; beyond that, better refuse than be late.
    parameters.max_enqueued_batches.value = _REQUEST_ROWS // _BATCH_ROWS + deployment.cpus
    return parameters


def _monitoring() -> MonitoringConfig:
    config = MonitoringConfig()
    config.prometheus_config.enable = True
    config.prometheus_config.path = METRICS_PATH
    return config
