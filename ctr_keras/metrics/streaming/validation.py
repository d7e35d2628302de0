"""Exact metrics after each epoch, those by group included."""

from typing import Any

import keras
from numpy.typing import ArrayLike

from ctr_keras.metrics.report import report
from ctr_keras.types import Inputs


class ExactValidation(keras.callbacks.Callback):
    """Scores validation rows after each epoch and logs `ctr_keras.metrics.report` of them.

    What it logs has the prefix `val_` (`val_auc_by_group`) and can be monitored by callbacks that
    come after it, such as `EarlyStopping`; metrics without a value are left out. The scores of all
    rows are in the host's memory while they are measured.

    Args:
        inputs: what the model takes, as arrays.
        labels: array of 0 and 1, any shape.
        groups: array of the same size or None, as in `auc_by_group`. Defaults to `None`: no
            metrics by group.
        weights: array of the same size or None. Defaults to `None`: all rows count alike.
        k: int. Rows of a group that NDCG, MRR and recall look at. Defaults to `10`.
        batch_size: int. Rows that are scored at once. Defaults to `4096`.

    Example:

    >>> import numpy as np
    >>> inputs, clicks = np.eye(4), np.array([1, 0, 0, 1])
    >>> model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
    >>> model.compile("sgd", "binary_crossentropy")
    >>> by_user = ExactValidation(inputs, clicks, groups=[7, 7, 8, 8])
    >>> history = model.fit(inputs, clicks, callbacks=[by_user], verbose=0).history
    >>> sorted(history)[:3]
    ['loss', 'val_auc', 'val_auc_by_group']
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        *,
        k: int = 10,
        batch_size: int = 4096,
    ) -> None:
        super().__init__()
        self._inputs = inputs
        self._rows = (labels, weights, groups)
        self._k = k
        self._batch_size = batch_size

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        labels, weights, groups = self._rows
        scores = self.model.predict(self._inputs, self._batch_size, verbose=0)
        measured = report(labels, scores, weights, groups, k=self._k)
        if logs is not None:
            logs |= {f"val_{n}": v for n, v in measured.items() if isinstance(v, int | float)}
