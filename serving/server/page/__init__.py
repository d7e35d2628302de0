"""The page at `/`: models, a form for requests, scores and explanations, in one HTML file.

The page asks the REST API for everything but the names of the models, which the API cannot list,
and values to fill the form with, which come from the models' warm-up requests.
"""

import base64
import functools
import hashlib
import html
import importlib.resources
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.codes import StatusError
from serving.server.manager import ModelManager
from serving.versions import WARMUP_FILE

_TOKENS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "True": "true", "False": "false"}


def page(manager: ModelManager) -> tuple[str, dict[str, str]]:
    """The HTML, and the headers that let it load nothing and talk to this server only.

    Example:

    >>> text, headers = page(manager)
    >>> headers["Referrer-Policy"]
    'no-referrer'
    """
    models = {name: _sample_of(manager, name) for name in manager.names()}
    text = _file("page.html")
    for slot, content in (
        ("{{ style }}", _style()),
        ("{{ script }}", _script()),
        ("{{ models }}", html.escape(json.dumps(models))),  # last, as names may be any string
    ):
        text = text.replace(slot, content)
    return text, _headers()


@functools.cache
def _headers() -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": _hash(_script()),
        "style-src": _hash(_style()),
        "img-src": "data:",  # the empty icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",  # so that no string can become HTML
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _hash(inline: str) -> str:
    """What allows an inline script or style, and no other."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _script() -> str:
    return "\n".join(_file(f"{name}.js") for name in ("calls", "drawing", "form"))


def _style() -> str:
    return _file("page.css")


@functools.cache
def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sample_of(manager: ModelManager, name: str) -> dict[str, str]:
    try:
        records = manager.status(name)
    except StatusError:  # no version yet
        return {}
    newest = next((record for record in records if record.is_available), None)
    return _sample(newest.path) if newest else {}


@functools.lru_cache(maxsize=256)
def _sample(version: pathlib.Path) -> dict[str, str]:
    """What to type for each input: the first row of a version's first warm-up request."""
    file = version / WARMUP_FILE
    if not file.exists():
        return {}
    try:
        record = next(tf.data.TFRecordDataset(str(file)).as_numpy_iterator(), b"")
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except (tf.errors.OpError, DecodeError):  # the loader's business, not the page's
        return {}
    columns = {k: tf.make_ndarray(v) for k, v in log.predict_log.request.inputs.items()}
    return {
        name: _typed(column[0])
        for name, column in columns.items()
        if column.ndim == 1 and column.size
    }


def _typed(value: Any) -> str:
    """What to type for a value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    string = str(np.asarray(value)[()])
    return _TOKENS.get(string, string)
