"""Whether an exported version may be published: it is tried in a process of its own first.

Run as a program, this module is that process: it loads a SavedModel, scores the rows that it reads
and writes the scores, as `serving.onnx_scorer` does of ONNX. As in a server, no layer or model of
the library is imported there.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from ctr_keras import metrics
from ctr_keras.features import FeatureSet
from ctr_keras.programs import program
from ctr_keras.types import Array
from serving.arguments import by_inputs
from serving.export.columns import SCORE, column_values
from serving.types import Arrays, Row
from serving.versions import ONNX_FILE

if TYPE_CHECKING:
    from ctr_keras.data import Samples

TOLERANCE = 1e-6  # of a score
_ONNX_TOLERANCE = 1e-5  # ONNX Runtime adds up in an order of its own
_REASON_LENGTH = 300
_SIGNATURE = "serving_default"


class NotBlessedError(RuntimeError):
    """A version must not be published. The message says why."""


class CannotScoreError(RuntimeError):
    """A version cannot score the sample rows. The message says why, in one line."""


class OtherColumnsError(CannotScoreError):
    """It takes columns that the sample rows lack."""


def bless(
    version: str, in_place: str | None, samples: "Samples", expected: Arrays, margin: float
) -> None:
    """Checks that a version may take the place of another.

    Both are loaded in fresh processes and score the raw sample rows. The new scores must be those
    of the Keras model, within 1e-6, of ONNX 1e-5, and rank clicks not much worse than the version
    in place. Samples without both clicks and others say nothing about ranking, nor does a version
    in place that is broken, of which a warning tells.

    Args:
        version: str. The folder of the new version.
        in_place: str or None. That of the version to compare with, if there is one.
        samples: Samples of the prepared data.
        expected: dict. By the name of a score the Keras model's scores of the samples `(rows,)`.
        margin: float. By how much the AUC may be below that of the version in place.

    Raises:
        NotBlessedError: if it may not.

    Example:

    Prepared data and exported versions are needed:

    >>> samples = read_samples("data/ml", features)  # doctest: +SKIP
    >>> bless("models/ml/.partial", "models/ml/3", samples, scores, 0.005)  # doctest: +SKIP
    """
    if not samples.rows:
        return
    try:
        scores = score_in_fresh_process(version, samples.rows)
    except CannotScoreError as error:
        raise NotBlessedError(f"the new version cannot score the sample rows: {error}") from error
    tolerance = _ONNX_TOLERANCE if _is_onnx(version) else TOLERANCE
    for name, values in expected.items():
        _check_scores(name, scores[name], values, tolerance)
    if in_place is None:
        return
    try:
        scores_in_place = score_in_fresh_process(in_place, samples.rows)
    except OtherColumnsError as error:
        raise NotBlessedError(
            f"it cannot be compared with the version in place, {in_place}: that {error}"
        ) from error
    except CannotScoreError as error:
        warnings.warn(
            f"the new version is compared with nothing, as the version in place, {in_place}, is "
            f"broken: {error}",
            stacklevel=2,
        )
        return
    for name, labels in zip(expected, samples.labels.T, strict=True):
        if len({*labels.tolist()}) == 2 and name in scores_in_place:
            auc, before = (metrics.auc(labels, of[name]) for of in (scores, scores_in_place))
            if auc < before - margin:
                raise NotBlessedError(
                    f"AUC {auc:.5f}{_of(name)} on {len(labels)} sample rows is more than "
                    f"{margin:g} below the {before:.5f} of the version in place, {in_place}"
                )


def _of(name: str) -> str:
    return "" if name == SCORE else f" of {name}"


def _is_onnx(version: str) -> bool:
    return os.path.exists(os.path.join(version, ONNX_FILE))


def _check_scores(name: str, scores: Array, expected: Array, tolerance: float) -> None:
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise NotBlessedError(f"the {name} of sample row {row + 1} is {scores[row]}")
    differs = np.flatnonzero(np.abs(scores - expected) > tolerance)
    if len(differs):
        row = int(differs[0])
        raise NotBlessedError(
            f"the exported model scores {len(differs)} of {len(scores)} sample rows differently "
            f"than the Keras model{_of(name)}: row {row + 1} {scores[row]:.8f} instead of "
            f"{expected[row]:.8f}"
        )


def score_in_fresh_process(version: str, rows: Sequence[Row]) -> Arrays:
    """Scores of raw rows by name, of a version that is loaded in a fresh process.

    Raises:
        OtherColumnsError: if it takes columns that the rows lack, naming them.
        CannotScoreError: if it cannot be loaded or cannot score the rows, with the reason.
    """
    _check_columns(version, rows[0])
    module = "serving.onnx_scorer" if _is_onnx(version) else "serving.export.blessing"
    process = subprocess.run(
        [*program(module), version],
        input="".join(f"{json.dumps(row)}\n" for row in rows),
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},  # so that the last line is the reason
    )
    if process.returncode:
        said = process.stderr.split("\n")
        reason = next((line for line in reversed(said) if line.strip()), "its process was killed")
        raise CannotScoreError(reason[:_REASON_LENGTH])
    scores = json.loads(process.stdout.splitlines()[-1])
    return {name: np.array(values) for name, values in scores.items()}


def _check_columns(version: str, row: Row) -> None:
    try:
        if _is_onnx(version):
            taken = FeatureSet.load_fitted(version).raw_columns.keys()
        else:
            taken = _definition(version).inputs.keys()
    except (OSError, ValueError, LookupError, DecodeError) as error:
        raise CannotScoreError(_one_line(error)) from error
    if lacking := sorted(taken - row.keys()):
        raise OtherColumnsError(f"takes columns that the sample rows lack: {', '.join(lacking)}")


def _definition(version: str) -> meta_graph_pb2.SignatureDef:
    with open(os.path.join(version, "saved_model.pb"), "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    if not saved_model.meta_graphs:
        raise LookupError("its saved_model.pb is empty")
    return saved_model.meta_graphs[0].signature_def[_SIGNATURE]


def _scores(version: str, lines: Sequence[str]) -> dict[str, list[float]]:
    rows = [json.loads(line) for line in lines]
    definition = _definition(version)
    kinds = {
        name: "string" if info.dtype == types_pb2.DT_STRING else "float"
        for name, info in definition.inputs.items()
    }
    columns = {name: tf.constant(column_values(rows, name, kind)) for name, kind in kinds.items()}
    loaded = tf.saved_model.load(version)
    signature = by_inputs(loaded.signatures[_SIGNATURE], _SIGNATURE, definition)
    return {name: np.ravel(of).tolist() for name, of in signature(**columns).items()}


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _main(version: str) -> None:
    try:
        print(json.dumps(_scores(version, sys.stdin.readlines())))
    except Exception as error:
        sys.exit(_one_line(error))


if __name__ == "__main__":
    _main(sys.argv[1])
