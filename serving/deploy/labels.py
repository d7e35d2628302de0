"""Version labels in a `models.config`: moved to other versions, and back.

The version that a label stood for before stays served, under the label with `-previous`, so that
going back needs no loading.
"""

import os
import urllib.parse
from collections.abc import Callable, MutableMapping
from typing import TypeAlias

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ctr_keras.settings import did_you_mean

Labels: TypeAlias = MutableMapping[str, int]

_PREVIOUS = "-previous"
_SECONDS = 60  # for a server to answer


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

    def move(labels: Labels) -> None:
        version = _version_of(labels, label)
        if labels.get(to, version) != version:
            labels[to + _PREVIOUS] = labels[to]
        labels[to] = version

    return _change(config, model, url, move)


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


def _version_of(labels: Labels, label: str) -> int:
    if label not in labels:
        raise ValueError(f"there is no label {label!r}{did_you_mean(label, list(labels))}")
    return labels[label]


def _change(
    path: str, model: str, url: str | None, change: Callable[[Labels], None]
) -> dict[str, int]:
    config = _read(path)
    listed = {entry.name: entry for entry in config.model_config_list.config}
    if model not in listed:
        raise ValueError(f"{path} has no model {model!r}{did_you_mean(model, list(listed))}")
    entry = listed[model]
    try:
        change(entry.version_labels)
    except ValueError as error:
        raise ValueError(f"{path}, {model}: {error}") from None
    labels = dict(sorted(entry.version_labels.items()))
    if entry.model_version_policy.HasField("specific"):  # which serves what has a label
        entry.model_version_policy.specific.versions[:] = sorted({*labels.values()})
    if url:
        _reload(url, config)
    with open(f"{path}.partial", "w", encoding="utf-8") as file:
        file.write(text_format.MessageToString(config))
    os.replace(f"{path}.partial", path)
    return labels


def _read(path: str) -> model_server_config_pb2.ModelServerConfig:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{path} is no models.config: {error}") from error


def _reload(url: str, config: model_server_config_pb2.ModelServerConfig) -> None:
    """Has a server take a configuration."""
    import grpc
    from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "grpc" or not parts.port:
        raise ValueError(f"url must be like grpc://localhost:8500, got {url}")
    request = model_management_pb2.ReloadConfigRequest(config=config)
    with grpc.insecure_channel(parts.netloc) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            service.HandleReloadConfigRequest(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            raise RuntimeError(f"{url} does not take the labels: {error.details()}") from error
