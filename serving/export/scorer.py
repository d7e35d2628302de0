"""A run's `serving_default`, as it is exported, in this process."""

import functools
import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ctr_keras.explain import Explainer
from ctr_keras.features import Crossed, FeatureSet, Numeric
from ctr_keras.features.columns import Columns, Frame
from ctr_keras.features.packing import read_categories
from ctr_keras.features.spelling import warn_of_unknown
from ctr_keras.types import Array
from serving.export.candidates import find_item_columns
from serving.export.columns import score_names
from serving.export.signatures import DTYPES, check_backend, make_endpoints

_ROWS = 4096  # at once


class Scorer:
    """Scores raw rows by the graph that `export` saves: the transform and the model.

    Args:
        run: str. The run's folder.
        data: str or None. The prepared data. Defaults to `None`: those the run was trained on.

    Attributes:
        features: FeatureSet. The run's.
        prepared: str. The folder of the prepared data, on the disk.
        names: tuple of str. What the scores are called.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        ValueError: if the data were prepared with other features or vocabularies.
        RuntimeError: on a Keras backend other than TensorFlow.

    Example:

    A finished run is needed:

    >>> Scorer("runs/ml").score({"user": ["ann", ""], "price": [1.5, None]})  # doctest: +SKIP
    array([0.5 , 0.25], dtype=float32)
    """

    def __init__(self, run: str, data: str | None = None):
        check_backend("scoring")
        from ctr_keras.training.evaluation import check_same_features, data_of, load_run

        model, self.features, config = load_run(run)
        self.prepared = data_of(run, config.data, data)
        check_same_features(self.features, self.prepared)
        self._transform = tf.saved_model.load(os.path.join(self.prepared, "transform_fn"))
        explainer, items = Explainer(model, self.features), find_item_columns(self.features)
        endpoints = make_endpoints(model, self.features, self._transform, items, explainer)
        self._function = endpoints["serving_default"]
        self.names = score_names(self.features)

    def __call__(self, raw: Mapping[str, Array]) -> Array:
        """Scores of raw columns: strings or bytes, and float32 numbers, `""` and NaN where a value
        is missing; `(rows,)`, or of several labels `(rows, labels)`."""
        rows = len(next(iter(raw.values())))
        scores = np.empty((rows, len(self.names)), np.float32)
        for start in range(0, rows, _ROWS):
            block = slice(start, start + _ROWS)
            tensors = {
                name: tf.constant(raw[name][block], DTYPES[kind])
                for name, kind in self.features.raw_columns.items()
            }
            outputs = self._function(tensors)
            for place, name in enumerate(self.names):
                scores[block, place] = outputs[name]
        return scores if len(self.names) > 1 else scores[:, 0]

    @functools.cached_property
    def _fitted(self) -> FeatureSet:
        return FeatureSet.load_fitted(self.prepared)

    def score(self, frame: Frame) -> Array:
        """The scores of a frame's rows, as of raw columns: of pandas, polars or pyarrow, or a dict
        of arrays. Numbers, True and False that are categories are spelled as in training.

        Raises:
            ValueError: for a column that is not there, or a value that is not as declared, with
                its row.
        """
        columns = Columns(
            frame, self.features.raw_columns, self._fitted.spellings, self._fitted.missing
        )
        warn_of_unknown(self._fitted, read_categories(self._fitted, columns))
        raw: dict[str, Array] = {}
        for feature in self.features.features:
            if isinstance(feature, Crossed):
                continue
            name = feature.raw_column
            if isinstance(feature, Numeric):
                raw[name] = columns.numbers(name)
            else:
                coded = columns.strings(feature)
                raw[name] = np.array(coded.values, object)[coded.codes]
        return self(raw)
