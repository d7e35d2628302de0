"""Classify and regress in JSON: examples of named features in, labels or values out."""

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.codes import invalid_argument
from serving.server.rest.json_text import dump_scalar
from serving.server.rest.scalars import (
    decode_base64,
    is_base64,
    json_type,
    make_array,
    write_floats,
)
from serving.types import Json

_MIN_INT64, _MAX_INT64, _MAX_UINT64 = -(2**63), 2**63 - 1, 2**64 - 1
_LISTS = {"int64": "int64_list", "float": "float_list", "bytes": "bytes_list"}


def read_examples(document: dict[str, Json]) -> input_pb2.Input:
    """Reads the examples of a classify or regress request.

    Raises:
        StatusError: INVALID_ARGUMENT with TensorFlow Serving's message.

    Example:

    >>> given = read_examples({"examples": [{"age": 25, "tags": ["a", "b"]}]})
    >>> list(given.example_list.examples[0].features.feature["age"].int64_list.value)
    [25]
    """
    context = _example(document["context"]) if "context" in document else None
    if "examples" not in document:
        raise invalid_argument(
            "When method is classify, key 'examples' is expected and was not found"
        )
    rows = document["examples"]
    if not isinstance(rows, list):
        raise invalid_argument("Expecting 'examples' value to be an list/array")
    if not rows:
        raise invalid_argument("'examples' value is an empty array")
    examples = [_example(row) for row in rows]
    given = input_pb2.Input()
    if context is None:
        given.example_list.examples.extend(examples)
    else:
        given.example_list_with_context.context.CopyFrom(context)
        given.example_list_with_context.examples.extend(examples)
    return given


def write_classifications(result: classification_pb2.ClassificationResult) -> str:
    """Labels and scores as JSON."""
    rows = []
    for row in result.classifications:
        scores = write_floats(np.array([item.score for item in row.classes], np.float32))
        labels = [dump_scalar(item.label) for item in row.classes]
        pairs = (f"[{label}, {score}]" for label, score in zip(labels, scores, strict=True))
        rows.append(f"[{', '.join(pairs)}]")
    return f'{{"results": [{", ".join(rows)}]}}'


def write_regressions(result: regression_pb2.RegressionResult) -> str:
    """Values as JSON."""
    values = write_floats(np.array([row.value for row in result.regressions], np.float32))
    return f'{{"results": [{", ".join(values)}]}}'


def _example(value: Json) -> tf.train.Example:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {json_type(value)}")
    example = tf.train.Example()
    for name, values in value.items():
        feature = example.features.feature[_utf8(name)]  # an empty list makes one without a kind
        kind = None
        for item in values if isinstance(values, list) else [values]:
            kind = _append(feature, name, item, kind)
    return example


def _append(feature: tf.train.Feature, name: str, item: Json, kind: str | None) -> str:
    """Adds a value, whose token decides its kind; all of a feature's must be of one."""
    found, value = _typed(name, item)
    if kind not in (None, found):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {kind}")
    getattr(feature, _LISTS[found]).value.append(value)
    return found


def _typed(name: str, item: Json) -> tuple[str, bytes | float | int]:
    if isinstance(item, str):
        return "bytes", item.encode("utf-8", "surrogateescape")
    if isinstance(item, dict) and is_base64(item):
        return "bytes", decode_base64(item["b64"])
    if isinstance(item, int) and _MIN_INT64 <= item <= _MAX_INT64:  # true and false, too
        return "int64", int(item)
    if isinstance(item, int) and 0 <= item <= _MAX_UINT64:
        raise invalid_argument(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    if isinstance(item, (int, float)):
        return "float", make_array([item], [], types_pb2.DT_FLOAT).item()
    raise invalid_argument(
        f"Feature: {name} has element with unexpected JSON type: {json_type(item)}"
    )


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise invalid_argument("Feature names must be valid UTF-8") from error
    return name
