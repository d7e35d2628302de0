"""Whether an exported version may be published: it is tried in a process of its own first.

Run as a program, this module is that process: it loads a SavedModel, scores the rows that it reads
and writes the scores, as `serving.onnx_scorer` does of ONNX. As in a server, no layer or model of
the library is imported there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from ctr_keras import metrics
from ctr_keras.types import Array
from serving.arguments import by_inputs
from serving.export.columns import SCORE, column_values
from serving.types import Arrays, Row
from serving.versions import ONNX_FILE

if TYPE_CHECKING:
    from ctr_keras.data import Samples

TOLERANCE = 1e-6  # of a score
_ONNX_TOLERANCE = 1e-5  # ONNX Runtime adds up in an order of its own
_STDERR_LINES = 5
_SIGNATURE = "serving_default"


class NotBlessedError(RuntimeError):
    """A version must not be published. The message says why."""


def bless(
    version: str, in_place: str | None, samples: "Samples", expected: Arrays, margin: float
) -> None:
    """Checks that a version may take the place of another.

    Both are loaded in fresh processes and score the raw sample rows. The new scores must be those
    of the Keras model, within 1e-6, of ONNX 1e-5, and rank clicks not much worse than the version
    in place. Samples without both clicks and others say nothing about ranking.

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
    scores = score_in_fresh_process(version, samples.rows)
    tolerance = _ONNX_TOLERANCE if _is_onnx(version) else TOLERANCE
    for name, values in expected.items():
        _check_scores(name, scores[name], values, tolerance)
    if in_place is None:
        return
    scores_in_place = score_in_fresh_process(in_place, samples.rows)
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
        NotBlessedError: if it cannot be loaded or cannot score the rows, with the reason.
    """
    program = "serving.onnx_scorer" if _is_onnx(version) else "serving.export.blessing"
    process = subprocess.run(
        [sys.executable, "-m", "ctr_keras.quiet", program, version],
        input="".join(f"{json.dumps(row)}\n" for row in rows),
        capture_output=True,
        text=True,
    )
    if process.returncode:
        reason = "\n".join(process.stderr.splitlines()[-_STDERR_LINES:])
        raise NotBlessedError(f"{version} does not score the sample rows:\n{reason}")
    scores = json.loads(process.stdout.splitlines()[-1])
    return {name: np.array(values) for name, values in scores.items()}


def _scores(version: str, lines: Sequence[str]) -> dict[str, list[float]]:
    rows = [json.loads(line) for line in lines]
    with open(os.path.join(version, "saved_model.pb"), "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    definition = saved_model.meta_graphs[0].signature_def[_SIGNATURE]
    lacking = sorted(definition.inputs.keys() - rows[0].keys())
    if lacking:
        raise SystemExit(f"it takes columns that the rows lack: {', '.join(lacking)}")
    kinds = {
        name: "string" if info.dtype == types_pb2.DT_STRING else "float"
        for name, info in definition.inputs.items()
    }
    columns = {name: tf.constant(column_values(rows, name, kind)) for name, kind in kinds.items()}
    loaded = tf.saved_model.load(version)
    signature = by_inputs(loaded.signatures[_SIGNATURE], _SIGNATURE, definition)
    return {name: np.ravel(of).tolist() for name, of in signature(**columns).items()}


if __name__ == "__main__":
    print(json.dumps(_scores(sys.argv[1], sys.stdin.readlines())))
