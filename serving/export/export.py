"""A trained run and its transform graph as one SavedModel that scores raw requests; or for ONNX
Runtime, by `onnx.py`.

`signatures.py` has its signatures. Next to the model are warm-up requests, and the scores that the
Keras model gave to the sample rows of its data, for `ctr-keras verify`. A version is published only
after it has shown in a process of its own that it serves these scores, and ranks no worse than
the version in place (`serving.export.blessing`).
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from ctr_keras.data import read_samples
from ctr_keras.explain import Explainer
from ctr_keras.features import FeatureSet
from ctr_keras.files import copy, files_below, is_remote
from serving.export.blessing import NotBlessedError, bless
from serving.export.candidates import find_item_columns
from serving.export.columns import SCORE, argument_names, raw_arrays, score_names
from serving.export.onnx import check_onnx_packages, write_onnx
from serving.export.signatures import check_backend, make_endpoints
from serving.types import Array, Arrays, Row
from serving.versions import ONNX_FILE, WARMUP_FILE, find_versions

SCORES_PATH = os.path.join("assets.extra", "sample_scores.json")
MARGIN = 0.005
_REFUSED = ".refused"
# Not more than batching may take at most: a server refuses a version whose warm-up fails.
_WARMUP_SIZES = {"serving_default": (1, 32), "rank": (32,), "explain": (1,)}


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Args:
        item_columns: collection of str. Raw columns that differ from candidate to candidate in
            `rank`. Defaults to `()`: see `serving.export.candidates.find_item_columns`.
        margin: float. By how much the AUC on the sample rows may be below that of the version in
            place. Defaults to 0.005.
        force: bool. Whether to publish whatever the comparison says. Defaults to False.
        format: str. `"savedmodel"`, or `"onnx"`, for `serving.onnx_scorer`. Defaults to
            `"savedmodel"`.
        int8: bool. Whether tables and kernels of dense layers are rounded to int8. Defaults to
            False.

    Raises:
        ModuleNotFoundError: without the packages of `ctr-keras[onnx]`, of ONNX.
    """

    item_columns: Collection[str] = ()
    margin: float = MARGIN
    force: bool = False
    format: Literal["savedmodel", "onnx"] = "savedmodel"
    int8: bool = False

    def __post_init__(self) -> None:
        if self.format == "onnx":
            check_onnx_packages()


def export_run(
    run: str, out: str, options: ExportOptions = ExportOptions(), data: str | None = None
) -> str:
    """Exports a run that `ctr-keras train` finished as the next version of a model.

    Args:
        run: str. The run's folder.
        out: str. The model's folder; its name is the model's name.
        options: ExportOptions.
        data: str or None. The prepared data. Defaults to `None`: those the run was trained on.

    Returns:
        The new version's folder: `out` and a number one above the highest there.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        ValueError: if the data were prepared with other features or vocabularies.
        NotBlessedError: if the version is refused; see `export_model`.

    Example:

    A finished run is needed:

    >>> export_run("runs/ml", "models/ml", ExportOptions(margin=0.01))  # doctest: +SKIP
    'models/ml/2'
    """
    from ctr_keras.training.evaluation import check_same_features, data_of, load_run

    model, features, config = load_run(run)
    prepared = data_of(run, config.data, data)
    check_same_features(features, prepared)
    if is_remote(out):
        return _export_far(model, features, prepared, out, options)
    return export_model(model, features, prepared, out, options)


def _export_far(
    model: keras.Model, features: FeatureSet, prepared: str, out: str, options: ExportOptions
) -> str:
    """Exports to an address: on the disk, next to the newest version there, and then file by file,
    that last without which no server takes a folder for a version."""
    out = out.rstrip("/")
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(out))
        names = {file.path.removeprefix(f"{out}/").split("/")[0] for file in files_below(out)}
        if newest := max(map(int, filter(str.isdigit, names)), default=0):
            copy(f"{out}/{newest}", os.path.join(local, str(newest)))
        version = export_model(model, features, prepared, local, options)
        address = f"{out}/{os.path.basename(version)}"
        copy(version, address, last="saved_model.pb")
    return address


def export_model(
    model: keras.Model,
    features: FeatureSet,
    prepared: str,
    out: str,
    options: ExportOptions = ExportOptions(),
) -> str:
    """Exports a model together with the transform graph of its prepared data.

    The version's folder appears when it is whole and blessed: until then it has another name.

    Args:
        model: keras.Model on the packed inputs of `features`.
        features: FeatureSet.
        prepared: str. The folder that `ctr-keras prepare` wrote.
        out: str. The model's folder.
        options: ExportOptions.

    Returns:
        The new version's folder.

    Raises:
        RuntimeError: on a Keras backend other than TensorFlow. (A run trained with JAX can be
            exported: `.keras` files do not depend on the backend.) Also if another process
            exports to the folder, or TensorFlow cannot write there.
        NotBlessedError: if the version serves other scores than the model gives, or its AUC is
            too far below that of the version in place. It is left in `.refused` in `out`.
        ValueError: for an item column that the model does not read, naming it, a folder with
            versions of the other format, what ONNX cannot hold, and data that an earlier version
            of this library prepared.
    """
    check_backend("export")
    if options.int8:
        model = _rounded(model)
    item_columns = find_item_columns(features, options.item_columns)
    if options.item_columns and options.format == "onnx":
        raise ValueError("item columns are for `rank`, which a version for ONNX Runtime has not")
    with _kept(out), _partial(out) as partial:
        versions = find_versions(out)
        _check_format(out, versions.values(), options.format)
        samples = read_samples(prepared, features)
        if options.format == "onnx":
            write_onnx(model, features, prepared, partial)
        else:
            signatures = _write_saved_model(model, features, prepared, item_columns, partial)
            requests = _warmup_requests(features, samples.rows, item_columns, signatures)
            _write_warmup(os.path.basename(os.path.abspath(out)), requests, partial)
        scores = dict(zip(score_names(features), _scores(model, samples.inputs).T, strict=True))
        _write_scores(scores, prepared, partial)
        newest = max(versions, default=0)
        if not options.force:
            in_place = str(versions[newest]) if versions else None
            try:
                bless(partial, in_place, samples, scores, options.margin)
            except NotBlessedError as error:
                refused = os.path.join(out, _REFUSED)
                os.rename(partial, refused)
                raise NotBlessedError(
                    f"{error}. The refused version is in {refused}; --force publishes it"
                ) from error
        path = os.path.join(out, str(newest + 1))
        os.rename(partial, path)
    return path


def _rounded(model: keras.Model) -> keras.Model:
    """A copy of the model in int8."""
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras about each layer that stays as it is
        copied.quantize("int8")
    return copied


def _check_format(out: str, versions: Iterable[pathlib.Path], wanted: str) -> None:
    """Checks that all versions of a model are for the same servers."""
    for version in versions:
        found = "onnx" if (version / ONNX_FILE).exists() else "savedmodel"
        if found != wanted:
            raise ValueError(f"{version} is of format {found}: export {wanted} to another folder")


@contextlib.contextmanager
def _kept(out: str) -> Iterator[None]:
    """Keeps a model's folder, which is made where it is not there, for one export at a time."""
    os.makedirs(out, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)  # its end gives it free, that of a killed process too
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RuntimeError(
            f"another process exports to {out}: export again when it has ended"
        ) from error
    finally:
        os.close(folder)


@contextlib.contextmanager
def _partial(out: str) -> Iterator[str]:
    """Where to write a version; what is left there when something goes wrong is removed.

    It has no number, so that no server takes it for a version.
    """
    partial = os.path.join(out, ".partial")
    for leftover in (partial, os.path.join(out, _REFUSED)):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        yield partial
    except tf.errors.OpError as error:  # such as a full disk
        raise RuntimeError(f"cannot write {partial}: {error.message}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # but where there is something in it
            os.rmdir(out)


def _write_saved_model(
    model: keras.Model,
    features: FeatureSet,
    prepared: str,
    item_columns: Set[str],
    path: str,
) -> Collection[str]:
    """Writes the SavedModel; returns the names of its signatures."""
    transform = tf.saved_model.load(os.path.join(prepared, "transform_fn"))
    _check_transform(transform, features, prepared)
    explainer = Explainer(model, features)
    # Keras' ExportArchive would drop the endpoints' default arguments, and with them the
    # signatures' defaults. What the endpoints use must hang on what is saved.
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in model.variables]
    module.transform = transform
    endpoints = make_endpoints(model, features, transform, item_columns, explainer)
    tf.saved_model.save(module, path, endpoints)
    with _signature_defs(os.path.join(path, "saved_model.pb")) as definitions:
        _name_inputs(definitions, features)
        if explainer.axes:
            _name_axes(definitions["explain"], explainer)
    return endpoints.keys()


def _check_transform(transform: Any, features: FeatureSet, prepared: str) -> None:
    """Checks that the transform takes columns of one value next to others, as signatures do."""
    first, *others = raw_arrays(features, [dict.fromkeys(features.raw_columns)]).items()
    columns = {first[0]: np.repeat(first[1], 2), **dict(others)}
    try:
        transform.transform_fn({name: tf.constant(values) for name, values in columns.items()})
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{prepared} was prepared by an earlier version, whose transform wants all columns of "
            "one length: prepare it again"
        ) from error


@contextlib.contextmanager
def _signature_defs(path: str) -> Iterator[Mapping[str, meta_graph_pb2.SignatureDef]]:
    """What a SavedModel says of its signatures, to be changed."""
    with open(path, "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    yield saved_model.meta_graphs[0].signature_def
    with open(path, "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))


def _name_inputs(
    definitions: Mapping[str, meta_graph_pb2.SignatureDef], features: FeatureSet
) -> None:
    """Calls inputs what requests call them: by their columns (see `serving.arguments`)."""
    for column, argument in argument_names(features).items():
        for definition in definitions.values():
            for named in (definition.inputs, definition.defaults):
                if argument in named and column != argument:
                    named[column].CopyFrom(named.pop(argument))


def _name_axes(definition: meta_graph_pb2.SignatureDef, explainer: Explainer) -> None:
    """Names the axes of explanations.

    A dimension of a tensor may have a name there; it holds the names along it, with commas between.
    """
    for name, axis in explainer.axes.items():
        along = explainer.names[axis]
        shape = definition.outputs[name].tensor_shape
        for dim in shape.dim[-2 if name == "attention" else -1 :]:
            dim.name = ",".join(along)


def _scores(model: keras.Model, inputs: Arrays) -> Array:
    """`(rows, labels)`."""
    if not inputs:
        return np.zeros((0, model.output_shape[1]), np.float32)
    used = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    return np.asarray(model(used, training=False))


def _write_scores(scores: Arrays, prepared: str, path: str) -> None:
    of_labels = {name: values.tolist() for name, values in scores.items()}
    told = of_labels if len(of_labels) > 1 else of_labels[SCORE]
    content = {"samples": samples_digest(prepared), "scores": told}
    with open(_extra_file(path, SCORES_PATH), "w", encoding="utf-8") as file:
        json.dump(content, file)


def _extra_file(version: str, name: str | os.PathLike[str]) -> str:
    """The path of a file next to the model, in a folder that is made where it is not there."""
    path = os.path.join(version, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def samples_digest(prepared: str) -> str:
    """The SHA-256 of the sample rows of prepared data, which tells them from others."""
    with open(os.path.join(prepared, "samples.jsonl"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _warmup_requests(
    features: FeatureSet,
    rows: Sequence[Row],
    item_columns: Set[str],
    signatures: Collection[str],
) -> Iterator[predict_pb2.PredictRequest]:
    """Requests the server replays when it loads the version, made of raw rows of the test split."""
    if not rows:
        return
    users = features.raw_columns.keys() - item_columns
    for signature, sizes in _WARMUP_SIZES.items():
        for size in sizes if signature in signatures else ():
            columns = raw_arrays(features, [*itertools.islice(itertools.cycle(rows), size)])
            if signature == "rank":  # in the form that servers which batch take as well
                columns = {
                    name: values[:1] if name in users else values[np.newaxis]
                    for name, values in columns.items()
                }
            yield _request(signature, columns)


def _request(signature: str, columns: Arrays) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = signature
    for name, values in columns.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def _write_warmup(name: str, requests: Iterator[predict_pb2.PredictRequest], path: str) -> None:
    with tf.io.TFRecordWriter(_extra_file(path, WARMUP_FILE)) as writer:
        for request in requests:
            request.model_spec.name = name
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString(deterministic=True))
