"""Log loss and normalized entropy over batches."""

import keras
from keras import ops

from ctr_keras.metrics.streaming.base import StreamingMetric, divided
from ctr_keras.types import Tensor

_EPSILON = 1e-7  # as in `ctr_keras.metrics.log_loss`


@keras.saving.register_keras_serializable(package="ctr_keras")
class LogLoss(StreamingMetric):
    """`ctr_keras.metrics.log_loss` of all rows since `reset_state`.

    Args:
        name: str. Defaults to `"log_loss"`.
        dtype: str or None. Has no effect: sums are float32. Defaults to `None`.

    Example:

    >>> metric = LogLoss()
    >>> metric.update_state([1, 0], [0.8, 0.2])
    >>> round(float(metric.result()), 4)
    0.2231
    """

    def __init__(self, name: str = "log_loss", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self._loss = self._sum("loss")
        self._weight = self._sum("weight")

    def _add(self, labels: Tensor, scores: Tensor, weights: Tensor) -> None:
        right = ops.where(labels > 0, scores, 1 - scores)
        self._loss.add(ops.sum(weights * -ops.log(ops.maximum(right, _EPSILON))))
        self._weight.add(ops.sum(weights))

    def result(self) -> Tensor:
        return divided(self._loss.value, self._weight.value)


@keras.saving.register_keras_serializable(package="ctr_keras")
class NormalizedEntropy(LogLoss):
    """`ctr_keras.metrics.normalized_entropy` of all rows since `reset_state`.

    Args:
        name: str. Defaults to `"normalized_entropy"`.
        dtype: str or None. Has no effect: sums are float32. Defaults to `None`.

    Example:

    >>> metric = NormalizedEntropy()
    >>> metric.update_state([1, 0], [0.8, 0.2])
    >>> round(float(metric.result()), 4)
    0.3219
    """

    def __init__(self, name: str = "normalized_entropy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self._clicks = self._sum("clicks")

    def _add(self, labels: Tensor, scores: Tensor, weights: Tensor) -> None:
        super()._add(labels, scores, weights)
        self._clicks.add(ops.sum(weights * labels))

    def result(self) -> Tensor:
        rate = divided(self._clicks.value, self._weight.value)
        entropy = -(rate * ops.log(rate) + (1 - rate) * ops.log1p(-rate))  # NaN at 0 and 1
        return super().result() / entropy
