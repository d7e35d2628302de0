"""What streaming metrics share: sums over batches that lose nothing, and a histogram of scores."""

import keras
from keras import ops

from ctr_keras.types import Config, Shape, Tensor

_LOGITS = 16.0  # the histogram reaches from -16 to 16; float32 has no probability above that


class _Sum:
    """A sum of float32 tensors of one shape that does not lose what is small next to it.

    A plain float32 sum of ones ends at 2^24 = 16,777,216. The rest sums what each addition has
    rounded away (Knuth's TwoSum: `(total - (new - part)) + (value - part)`, `part = new - total`).
    """

    def __init__(self, metric: keras.metrics.Metric, name: str, shape: Shape = ()) -> None:
        def add(name: str) -> keras.Variable:
            return metric.add_variable(shape, keras.initializers.Zeros(), "float32", name=name)

        self._total = add(name)
        self._rest = add(f"{name}_rest")

    def add(self, value: Tensor) -> None:
        total = ops.convert_to_tensor(self._total)
        new = total + value
        part = new - total
        self._rest.assign_add((total - (new - part)) + (value - part))
        self._total.assign(new)

    @property
    def value(self) -> Tensor:
        return self._total + self._rest


class StreamingMetric(keras.metrics.Metric):
    """A metric of float32 sums over rows; whatever the policy, labels and scores become float32.

    Without rows, or with one class where both are needed, and after a score that is NaN it is NaN.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(dtype=dtype, name=name)

    def _sum(self, name: str, shape: Shape = ()) -> _Sum:
        return _Sum(self, name, shape)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        """Adds a batch.

        Args:
            y_true: labels, 0 or 1, any shape.
            y_pred: probabilities of the same size.
            sample_weight: tensor of the same size or None. Defaults to `None`.
        """
        labels, scores = _flat(y_true), _flat(y_pred)
        weights = ops.ones_like(scores) if sample_weight is None else _flat(sample_weight)
        self._add(labels, scores, ops.where(ops.isnan(scores), scores, weights))

    def _add(self, labels: Tensor, scores: Tensor, weights: Tensor) -> None:
        """Adds rows, each (rows,) float32; a weight is NaN where the score is."""
        raise NotImplementedError


class HistogramMetric(StreamingMetric):
    """A metric of sums by bin; bins have equal width in the logit, where scores are spread."""

    def __init__(
        self, columns: int, bins: int = 16384, name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, dtype)
        if bins < 1:
            raise ValueError(f"bins must be 1 or more. Received: {bins}")
        self.bins = bins
        self._of_bins = self._sum("histogram", (bins, columns))

    def _add_to_bins(self, scores: Tensor, *columns: Tensor) -> None:
        logits = ops.log(scores) - ops.log1p(-scores)  # infinite at 0 and 1
        place = (ops.clip(logits, -_LOGITS, _LOGITS) + _LOGITS) / (2 * _LOGITS)
        bin_numbers = ops.minimum(ops.cast(place * self.bins, "int32"), self.bins - 1)
        values = ops.stack(columns, axis=-1)
        self._of_bins.add(ops.segment_sum(values, bin_numbers, num_segments=self.bins))

    def get_config(self) -> Config:
        return {**super().get_config(), "bins": self.bins}


def divided(value: Tensor, by: Tensor) -> Tensor:
    """NaN where it is divided by 0."""
    return ops.where(by == 0, float("nan"), value / ops.where(by == 0, 1.0, by))


def _flat(values: Tensor) -> Tensor:
    return ops.reshape(ops.cast(values, "float32"), (-1,))
