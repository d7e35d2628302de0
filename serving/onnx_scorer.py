"""An exported ONNX model as a function of raw rows, without TensorFlow and Keras.

Run as a program, it scores the JSON lines that it reads and writes the scores by their names.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from ctr_keras.features import FeatureSet
from ctr_keras.features.columns import Frame
from ctr_keras.types import Array
from serving.export.columns import score_names
from serving.types import Row, Value
from serving.versions import ONNX_FILE

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "scoring with ONNX needs onnxruntime: pip install 'ctr-keras[onnx]'", name=error.name
    ) from error

_ROWS = 4096  # at once


class OnnxScorer:
    """Scores raw rows by a version that `ctr-keras export --format onnx` wrote.

    Rows become the inputs of the model by `FeatureSet.pack`, which gives the ids and numbers that
    the transform graph gives, with NumPy alone; `ctr_keras/features/columns.py` says how values
    are spelled. A missing value is None, `""` or NaN.

    Args:
        folder: str. The version's folder.
        threads: int. Threads of an operation; more than one pay for large batches. Defaults to 1.

    Attributes:
        features: FeatureSet. That of the version.
        names: tuple of str. What the scores are called: `score`, or of several labels theirs.

    Raises:
        FileNotFoundError: if there is no ONNX model in the folder.

    Example:

    An exported version is needed:

    >>> scorer = OnnxScorer("models/ml-onnx/1")  # doctest: +SKIP
    >>> scorer.score([{"user": "ann", "price": 1.5}, {"user": None}])  # doctest: +SKIP
    array([0.5 , 0.25], dtype=float32)
    """

    def __init__(self, folder: str | os.PathLike[str], threads: int = 1):
        path = os.path.join(folder, ONNX_FILE)
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"there is no {path}: `ctr-keras export --format onnx` writes it"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self.features = FeatureSet.load_fitted(folder)
        self.names = score_names(self.features)

    def score(self, rows: Sequence[Row] | Frame) -> Array:
        """The scores of raw rows.

        Args:
            rows: a list of dicts, where a row may lack a column that others have; or columns by
                name, a frame of pandas, polars or pyarrow, or a dict of lists or arrays. Columns
                that the model does not read are left alone.

        Returns:
            Array `(rows,)` float32, or of several labels `(rows, labels)`.

        Raises:
            ValueError: for a column that is not there, and for a value that is not as declared,
                with its row.
        """
        return self.run(self.pack(rows))

    def pack(self, rows: Sequence[Row] | Frame) -> dict[str, Array]:
        """The inputs of the model for raw rows, by name."""
        frame = self._columns(rows) if isinstance(rows, list | tuple) else rows
        packed = self.features.pack(frame)
        return {name: packed[name] for name in self._inputs}

    def run(self, packed: Mapping[str, Array]) -> Array:
        """The scores of packed rows."""
        count = len(packed[self._inputs[0]])
        scores = np.empty((count, len(self.names)), np.float32)
        for start in range(0, count, _ROWS):
            block = {name: values[start : start + _ROWS] for name, values in packed.items()}
            scores[start : start + _ROWS] = self._session.run(None, block)[0]
        return scores if len(self.names) > 1 else scores[:, 0]

    def _columns(self, rows: Sequence[Row]) -> dict[str, list[Value]]:
        """The columns of rows; one that only other rows have is missing."""
        names = {name for row in rows for name in row} if rows else self.features.raw_columns
        return {name: [row.get(name) for row in rows] for name in names}


if __name__ == "__main__":
    scorer = OnnxScorer(sys.argv[1])
    scores = scorer.score([json.loads(line) for line in sys.stdin])
    by_name = zip(scorer.names, scores.reshape(len(scores), -1).T.tolist(), strict=True)
    print(json.dumps(dict(by_name)))
