"""A trained run and its transform graph as one SavedModel that scores raw requests.

Signatures of the exported model:

- `serving_default`: one input a raw column, (batch,) strings or floats; output `score`, (batch,).
- `serialized_examples`: `examples`, (batch,) serialized tf.train.Example; output `score`.
- `transform_features`: the inputs of `serving_default`; the packed model inputs, to look for skew.

A missing value is `""` in a string column and NaN in a float column, as TensorFlow Serving's JSON
has no null and wants every input in every row. Over gRPC an absent input, and in a tf.Example an
absent feature, mean the same.
"""

import json
import os
import shutil
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ctr_keras.features import FeatureSet

WARMUP_PATH = os.path.join("assets.extra", "tf_serving_warmup_requests")
_WARMUP_BATCH_SIZES = (1, 32, 128)
_DTYPES = {"string": tf.string, "float": tf.float32}
_MISSING = {"string": "", "float": float("nan")}


def export_run(run: str, out: str) -> str:
    """Exports a run that `ctr-keras train` finished as the next version of a model.

    Args:
        run: str. The run's folder.
        out: str. The model's folder; its name is the model's name.

    Returns:
        The new version's folder: `out` and a number one above the highest there.

    Raises:
        FileNotFoundError: if the run or its prepared data are not there.
    """
    from ctr_keras.training import load_run

    model, features, config = load_run(run)
    return export_model(model, features, config.data, out)


def export_model(model: keras.Model, features: FeatureSet, prepared: str, out: str) -> str:
    """Exports a model together with the transform graph of its prepared data.

    The version's folder appears when it is whole: it is written beside, then renamed.

    Args:
        model: keras.Model on the packed inputs of `features`.
        features: FeatureSet.
        prepared: str. The folder that `ctr-keras prepare` wrote.
        out: str. The model's folder.

    Returns:
        The new version's folder.

    Raises:
        RuntimeError: on a Keras backend other than TensorFlow. (A run trained with JAX can be
            exported: `.keras` files do not depend on the backend.)
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "export needs KERAS_BACKEND=tensorflow, whatever the run was trained with. "
            f"Received: {keras.backend.backend()}"
        )
    os.makedirs(out, exist_ok=True)
    partial = os.path.join(out, ".partial")  # no number, so no server takes it for a version
    shutil.rmtree(partial, ignore_errors=True)
    _write_saved_model(model, features, prepared, partial)
    _write_warmup(os.path.basename(os.path.abspath(out)), features, prepared, partial)
    version = 1 + max((int(name) for name in os.listdir(out) if name.isdecimal()), default=0)
    path = os.path.join(out, str(version))
    os.rename(partial, path)
    return path


def _write_saved_model(model: keras.Model, features: FeatureSet, prepared: str, path: str) -> None:
    transform = tf.saved_model.load(os.path.join(prepared, "transform_fn"))
    # Keras' ExportArchive would drop the endpoints' default arguments, and with them the
    # signatures' defaults. What the endpoints use must hang on what is saved.
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    module.transform = transform
    tf.saved_model.save(module, path, _endpoints(model, features, transform))


def _endpoints(model: keras.Model, features: FeatureSet, transform: Any) -> dict[str, Any]:
    columns = features.raw_columns
    inputs = {name: tf.TensorSpec([None], _DTYPES[kind], name) for name, kind in columns.items()}
    defaults = {name: tf.constant([_MISSING[kind]]) for name, kind in columns.items()}
    parsing = {
        name: tf.io.FixedLenFeature([], _DTYPES[kind], _MISSING[kind])
        for name, kind in columns.items()
    }

    def transformed(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        packed = transform.transform_fn(dict(raw))
        return {k: v if v.dtype == tf.float32 else tf.cast(v, tf.int32) for k, v in packed.items()}

    def scored(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        packed = transformed(raw)
        inputs = {tensor.name: packed[tensor.name] for tensor in model.inputs}
        return {"score": tf.squeeze(model(inputs, training=False), axis=1)}

    # The default argument becomes the signature's defaults: what an absent input stands for.
    @tf.function(input_signature=[inputs])
    def serving_default(raw=defaults):
        return scored(_same_length(raw))

    @tf.function(input_signature=[inputs])
    def transform_features(raw=defaults):
        return transformed(_same_length(raw))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serialized_examples(examples):
        return scored(tf.io.parse_example(examples, parsing))

    return {
        "serving_default": serving_default,
        "serialized_examples": serialized_examples,
        "transform_features": transform_features,
    }


def _same_length(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Repeats columns of length 1, such as those filled in for absent inputs, for every row."""
    rows = tf.reduce_max([tf.size(column) for column in raw.values()])
    return {name: tf.broadcast_to(column, [rows]) for name, column in raw.items()}


def _write_warmup(name: str, features: FeatureSet, prepared: str, path: str) -> None:
    """Requests the server replays when it loads the version, made of raw rows of the test split."""
    with open(os.path.join(prepared, "samples.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if not rows:
        return
    os.makedirs(os.path.join(path, os.path.dirname(WARMUP_PATH)))
    with tf.io.TFRecordWriter(os.path.join(path, WARMUP_PATH)) as writer:
        for size in _WARMUP_BATCH_SIZES:
            batch = [rows[i % len(rows)] for i in range(size)]
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(_predict_request(name, features, batch))
            writer.write(log.SerializeToString(deterministic=True))


def _predict_request(
    name: str, features: FeatureSet, rows: list[dict[str, Any]]
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = "serving_default"
    for column, kind in features.raw_columns.items():
        values = [_MISSING[kind] if row[column] is None else row[column] for row in rows]
        request.inputs[column].CopyFrom(tf.make_tensor_proto(values, _DTYPES[kind]))
    return request
