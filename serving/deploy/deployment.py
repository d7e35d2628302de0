"""What a deployment is: its settings, and the names that all of its files share."""

import dataclasses
import functools
import os
import posixpath
import re
import urllib.parse
from collections.abc import Mapping

from ctr_keras.settings import Count, check_settings, did_you_mean
from serving.versions import find_models, find_versions

IMAGE = "tensorflow/serving:2.19.1"
BINARY = "/usr/bin/tensorflow_model_server"
CONFIG_PATH = "/etc/tensorflow-serving"  # where containers see the configuration files
GRPC_PORT = 8500
REST_PORT = 8501
USER = 65534  # nobody: the server writes nothing

COPIER = "rclone/rclone:1.69.1"
# What rclone calls object stores, whose rights come from where the pod runs.
REMOTES = {"gs": ":gcs,env_auth", "s3": ":s3,provider=AWS,env_auth"}

_OFFICIAL = "tensorflow/serving"
_ADDRESS = re.compile(r"[a-z][a-z0-9]*://[^/]+")
_DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")  # with room for a suffix
_PINNED = re.compile(r".+(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})")


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A folder of models and how the real server is to serve it.

    Args:
        models_dir: str. The folder of models; each needs a version directory.
        name: str. What services and Kubernetes objects are called. Defaults to
            "tensorflow-serving".
        image: str. The container image with its tag or digest.
        base_path: str. Where the server finds the folder of models: in the container, or at an
            address that it reads itself, such as "gs://bucket/models". Defaults to "/models".
        copy_from: str or None. An address (gs://, s3://) from which each pod copies the folder of
            models when it starts. Defaults to `None`: pods share a volume.
        labels: dict. Model to version labels, such as `{"ctr": {"stable": 3}}`. Of a model with
            labels just the labelled versions are served, of others always the newest one.
        batching: bool. Join requests into batches. The server then refuses requests whose inputs
            are not of one length; `rank` takes columns of items as (users, candidates) and pads
            them. Defaults to False.
        cpus: int. Cores of one server. Defaults to 4.
        latency_ms: int. 95th percentile of latency in milliseconds beyond which servers are added.
            Defaults to 20.
        replicas: (int, int). The smallest and largest number of servers. Defaults to (2, 10).

    Raises:
        OSError: if the folder of models cannot be read.
        ValueError: if a setting is wrong, the folder has no model, or a model no version.

    Example:

    >>> deployment = Deployment("models", labels={"ctr": {"stable": 1}})
    >>> deployment.models
    ['ctr', 'genre', 'times_two']
    """

    models_dir: str
    name: str = "tensorflow-serving"
    image: str = IMAGE
    base_path: str = "/models"
    copy_from: str | None = None
    labels: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    batching: bool = False
    cpus: Count = 4
    latency_ms: Count = 20
    replicas: tuple[int, int] = (2, 10)

    def __post_init__(self) -> None:
        check_settings(self)
        _check(_DNS_LABEL.fullmatch(self.name), "name", "lower-case letters, digits, -", self.name)
        _check(_PINNED.fullmatch(self.image), "image", "an image with its version", self.image)
        self._check_places()
        least, most = self.replicas
        _check(0 < least <= most, "replicas", "positive and in ascending order", self.replicas)
        if not self.models:
            raise ValueError(f"{self.models_dir} has no models: no folder")
        for model in self.models:
            self._check_versions(model)
        if unknown := sorted(set(self.labels) - set(self.models)):
            raise ValueError(
                f"labels of {unknown[0]}, but {self.models_dir} has no such model"
                f"{did_you_mean(unknown[0], self.models)}"
            )

    @functools.cached_property
    def models(self) -> list[str]:
        """Names of the models."""
        return list(find_models(self.models_dir))

    @functools.cached_property
    def model_bytes(self) -> int:
        """Size of all models' newest versions on disk."""
        versions = (find_versions(os.path.join(self.models_dir, name)) for name in self.models)
        newest = (found[max(found)] for found in versions)
        files = (file for folder in newest for file in folder.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files)

    @property
    def reads_address(self) -> bool:
        """Whether the server reads models from an object store, not from a folder."""
        return _ADDRESS.match(self.base_path) is not None

    @property
    def asks_store(self) -> bool:
        """Whether pods read from an object store, themselves or by a copy at their start."""
        return self.reads_address or self.copy_from is not None

    def path_of(self, model: str) -> str:
        """A model's base path in the container."""
        return posixpath.join(self.base_path, model)

    def config_file(self, file: str) -> str:
        """Where the container sees a configuration file."""
        return posixpath.join(CONFIG_PATH, file)

    def _check_places(self) -> None:
        is_place = self.reads_address or posixpath.isabs(self.base_path)
        _check(is_place, "base_path", "an absolute path or an address", self.base_path)
        if self.base_path.startswith("s3:") and self.image.startswith(_OFFICIAL):
            raise ValueError(
                f"{self.base_path}: {_OFFICIAL} reads no s3:// since 2.7; copy the models from "
                "there (copy_from), or give an image that does"
            )
        if self.copy_from is not None:
            scheme = self.copy_from.partition("://")[0]
            _check(scheme in REMOTES, "copy_from", "at gs:// or s3://", self.copy_from)
            _check(not self.reads_address, "base_path", "a path with copy_from", self.base_path)

    def _check_versions(self, model: str) -> None:
        numbers = find_versions(os.path.join(self.models_dir, model))
        if not numbers:
            raise ValueError(
                f"{os.path.join(self.models_dir, model)} has no version, for which TensorFlow "
                "Serving would wait forever. Export one, or move the folder away."
            )
        for label, version in self.labels.get(model, {}).items():
            if version not in numbers:
                raise ValueError(
                    f"label {label} of {model}: there is no version {version}. "
                    f"Versions: {sorted(numbers)}"
                )


def status_path(model: str) -> str:
    """URL path of a model's status: 200 as long as the server answers and knows the model."""
    return f"/v1/models/{urllib.parse.quote(model, safe='')}"


def ready_path(model: str) -> str:
    """URL path that is 200 only while a version of the model is available.

    The status is 200, too, while the model is still loading or has failed; metadata are not.
    """
    return f"{status_path(model)}/metadata"


def _check(holds: object, setting: str, wanted: str, received: object) -> None:
    if not holds:
        raise ValueError(f"{setting} must be {wanted}, got {received}")
