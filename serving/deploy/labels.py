"""Version labels in a `models.config`: moved to other versions, and back.

The version that a label stood for before stays served, under the label with `-previous`, so that
going back needs no loading.
"""

import os
import time
import urllib.parse
from collections.abc import Callable, MutableMapping, Set
from typing import Any, TypeAlias

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ctr_keras.settings import did_you_mean

Config: TypeAlias = model_server_config_pb2.ModelServerConfig
Labels: TypeAlias = MutableMapping[str, int]

_PREVIOUS = "-previous"
_SECONDS = 60  # for a server to answer
_LOADING_SECONDS = 300  # for a server to load a version
_ASKED_EVERY = 0.5  # seconds, whether it has


def assign(
    config: str, model: str, label: str, version: int, url: str | None = None
) -> dict[str, int]:
    """Gives a label to a version, such as one that was just exported.

    Args:
        config, model: as of `promote`.
        label: str. The label to give, or to move there.
        version: int. The version's number.
        url: str or None. As of `promote`. The server loads the version before it has the label.

    Returns:
        The model's labels.

    Raises:
        OSError, ValueError, RuntimeError: as `promote`.

    Example:

    >>> assign("models.config", "ctr", "canary", 8)  # doctest: +SKIP
    {'canary': 8, 'stable': 7}
    """
    return _change(config, model, url, lambda labels: _move(labels, label, version))


def promote(config: str, model: str, label: str, to: str, url: str | None = None) -> dict[str, int]:
    """Moves a label to the version of another.

    Args:
        config: str. The file, as `ctr-keras deploy` writes it.
        model: str. The model's name.
        label: str. The label whose version it is, such as "canary".
        to: str. The label to move, such as "stable".
        url: str or None. A server, such as "grpc://127.0.0.1:8500", that is told before the file
            is written. Defaults to `None`: none.

    Returns:
        The model's labels.

    Raises:
        OSError: if the file cannot be read or written.
        ValueError: if it is no such file, or for a model or a label that it does not have.
        RuntimeError: if the server refuses. Then the file stays as it is.

    Example:

    >>> promote("models.config", "ctr", "canary", to="stable")  # doctest: +SKIP
    {'canary': 8, 'stable': 8, 'stable-previous': 7}
    """

    return _change(config, model, url, lambda labels: _move(labels, to, _version_of(labels, label)))


def rollback(config: str, model: str, label: str, url: str | None = None) -> dict[str, int]:
    """Moves a label back to the version that it stood for before; the next time, forth again.

    Args:
        config, model: as of `promote`.
        label: str. The label.
        url: str or None. As of `promote`.

    Returns:
        The model's labels.

    Raises:
        OSError, ValueError, RuntimeError: as `promote`.

    Example:

    >>> rollback("models.config", "ctr", "stable")  # doctest: +SKIP
    {'canary': 8, 'stable': 7, 'stable-previous': 8}
    """

    def swap(labels: Labels) -> None:
        now, before = _version_of(labels, label), _version_of(labels, label + _PREVIOUS)
        labels[label], labels[label + _PREVIOUS] = before, now

    return _change(config, model, url, swap)


def check_labelling(config: str, model: str, url: str | None = None) -> None:
    """Checks what `assign` is to be given, before there is a version.

    Raises:
        OSError, ValueError: as `assign`.
    """
    _entry(_read(config), config, model)
    if url:
        _address(url)


def _move(labels: Labels, label: str, version: int) -> None:
    if labels.get(label, version) != version:
        labels[label + _PREVIOUS] = labels[label]
    labels[label] = version


def _version_of(labels: Labels, label: str) -> int:
    if label not in labels:
        raise ValueError(f"there is no label {label!r}{did_you_mean(label, list(labels))}")
    return labels[label]


def _change(
    path: str, model: str, url: str | None, change: Callable[[Labels], None]
) -> dict[str, int]:
    config = _read(path)
    entry = _entry(config, path, model)
    known = {*entry.version_labels.values()}
    try:
        change(entry.version_labels)
    except ValueError as error:
        raise ValueError(f"{path}, {model}: {error}") from None
    labels = dict(sorted(entry.version_labels.items()))
    if entry.model_version_policy.HasField("specific"):  # which serves what has a label
        entry.model_version_policy.specific.versions[:] = sorted({*labels.values()})
    if url:
        _tell(url, config, _read(path), model, {*labels.values()} - known)
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        file.write(text_format.MessageToString(config))
    os.replace(f"{path}.partial", path)
    return labels


def _entry(config: Config, path: str, model: str) -> model_server_config_pb2.ModelConfig:
    listed = {entry.name: entry for entry in config.model_config_list.config}
    if model not in listed:
        raise ValueError(f"{path} has no model {model!r}{did_you_mean(model, list(listed))}")
    return listed[model]


def _read(path: str) -> Config:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{path} is no models.config: {error}") from error


# A server.


def _tell(url: str, config: Config, before: Config, model: str, new: Set[int]) -> None:
    """Has a server take a configuration, once it has loaded the versions that are new in it.

    A label is refused as long as its version is not available. If one does not become so, the
    server has the configuration before.
    """
    import grpc
    from tensorflow_serving.apis import model_service_pb2_grpc

    with grpc.insecure_channel(_address(url)) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            if new:
                _reload(service, _with_labels_of(config, before))
                try:
                    _wait(service, model, new)
                except RuntimeError:
                    _reload(service, before)
                    raise
            _reload(service, config)
        except grpc.RpcError as error:
            raise RuntimeError(f"{url} does not take the labels: {error.details()}") from error
        except RuntimeError as error:
            raise RuntimeError(f"{url} {error}") from None


def _address(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "grpc" or not parts.port:
        raise ValueError(f"url must be like grpc://localhost:8500, got {url}")
    return parts.netloc


def _with_labels_of(config: Config, before: Config) -> Config:
    """A configuration with the labels of another one of the same models."""
    mixed = model_server_config_pb2.ModelServerConfig()
    mixed.CopyFrom(config)
    entries = zip(mixed.model_config_list.config, before.model_config_list.config, strict=True)
    for entry, earlier in entries:
        entry.version_labels.clear()
        entry.version_labels.update(earlier.version_labels)
        versions = {*entry.model_version_policy.specific.versions}
        versions |= {*earlier.model_version_policy.specific.versions}
        if versions:
            entry.model_version_policy.specific.versions[:] = sorted(versions)
    return mixed


def _reload(service: Any, config: Config) -> None:
    from tensorflow_serving.apis import model_management_pb2

    request = model_management_pb2.ReloadConfigRequest(config=config)
    service.HandleReloadConfigRequest(request, timeout=_SECONDS)


def _wait(service: Any, model: str, versions: Set[int]) -> None:
    """Waits until a server has loaded versions of a model."""
    from tensorflow_serving.apis import get_model_status_pb2

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    state = get_model_status_pb2.ModelVersionStatus.State
    end = time.monotonic() + _LOADING_SECONDS
    missing = set(versions)
    while missing and time.monotonic() < end:
        for found in service.GetModelStatus(request, timeout=_SECONDS).model_version_status:
            if found.version in missing and found.state == state.END:
                reason = found.status.error_message
                raise RuntimeError(f"cannot load version {found.version} of {model}: {reason}")
            if found.state == state.AVAILABLE:
                missing.discard(found.version)
        if missing:
            time.sleep(_ASKED_EVERY)
    for version in missing:
        raise RuntimeError(
            f"has not loaded version {version} of {model} in {_LOADING_SECONDS} s: its log says "
            "why; is the version in the folder that it reads?"
        )
