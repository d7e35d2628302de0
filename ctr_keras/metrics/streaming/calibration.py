"""Calibration over batches."""

import keras
from keras import ops

from ctr_keras.metrics.streaming.base import HistogramMetric, StreamingMetric, divided
from ctr_keras.types import Config, Tensor


@keras.saving.register_keras_serializable(package="ctr_keras")
class CalibrationRatio(StreamingMetric):
    """`ctr_keras.metrics.calibration_ratio` of all rows since `reset_state`.

    Args:
        name: str. Defaults to `"calibration_ratio"`.
        dtype: str or None. Has no effect: sums are float32. Defaults to `None`.

    Example:

    >>> metric = CalibrationRatio()
    >>> metric.update_state([1, 0], [0.75, 0.5])
    >>> float(metric.result())
    1.25
    """

    def __init__(self, name: str = "calibration_ratio", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self._predicted = self._sum("predicted")
        self._clicks = self._sum("clicks")

    def _add(self, labels: Tensor, scores: Tensor, weights: Tensor) -> None:
        self._predicted.add(ops.sum(weights * scores))
        self._clicks.add(ops.sum(weights * labels))

    def result(self) -> Tensor:
        return divided(self._predicted.value, self._clicks.value)


@keras.saving.register_keras_serializable(package="ctr_keras")
class ExpectedCalibrationError(HistogramMetric):
    """`ctr_keras.metrics.expected_calibration_error` of all rows since `reset_state`.

    Its buckets of equal weight are put together from bins of a fine histogram, so rows next to a
    boundary may be in the other bucket; sums within buckets are exact.

    Args:
        buckets: int. Number of buckets, at most. Defaults to `10`.
        bins: int. As in `AUC`. Defaults to `16384`.
        name: str. Defaults to `"expected_calibration_error"`.
        dtype: str or None. Has no effect: sums are float32. Defaults to `None`.

    Example:

    >>> metric = ExpectedCalibrationError(buckets=2)
    >>> metric.update_state([1, 0, 1, 0], [0.9, 0.8, 0.2, 0.1])
    >>> round(float(metric.result()), 4)
    0.35
    """

    def __init__(
        self,
        buckets: int = 10,
        bins: int = 16384,
        name: str = "expected_calibration_error",
        dtype: str | None = None,
    ) -> None:
        super().__init__(2, bins, name, dtype)
        if buckets < 1:
            raise ValueError(f"buckets must be 1 or more. Received: {buckets}")
        self.buckets = buckets

    def _add(self, labels: Tensor, scores: Tensor, weights: Tensor) -> None:
        self._add_to_bins(scores, weights, weights * (scores - labels))

    def result(self) -> Tensor:
        weights, excess = ops.unstack(self._of_bins.value, 2, axis=1)
        total = ops.sum(weights)
        middle = divided(ops.cumsum(weights) - weights / 2, total)  # as in the exact metric
        bucket = ops.cast(ops.nan_to_num(middle) * self.buckets, "int32")
        by_bucket = ops.segment_sum(
            excess, ops.minimum(bucket, self.buckets - 1), num_segments=self.buckets
        )
        return divided(ops.sum(ops.abs(by_bucket)), total)

    def get_config(self) -> Config:
        return {**super().get_config(), "buckets": self.buckets}
