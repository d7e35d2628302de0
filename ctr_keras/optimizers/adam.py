"""Adam that updates rows, whose exact mode is in `exact.py`, and Adam that updates whole tables."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ctr_keras import tables
from ctr_keras.keras_internals import built_with
from ctr_keras.optimizers.exact import CatchesUp
from ctr_keras.types import Config, LearningRate, Tensor, Variable


@keras.saving.register_keras_serializable(package="ctr_keras")
class SparseAdam(CatchesUp):
    """Adam that updates the rows of a table that a batch has read; all else as Keras' Adam does.

    Dense Adam moves every row in every step: a row that no batch reads any more still follows its
    momentum, which takes a walk over all rows. Here such a row rests, and so do its moments, until
    a batch reads it again ("lazy" Adam). Bias correction counts all steps. Weight decay acts on the
    rows that are read.

    With `table_decay` rows decay while they are not read: what was learned of a value that is rare
    is forgotten between two times that it is read, so that it is not learned by heart. After `k`
    steps without a read `(1 - table_decay)^(k^1.5)` is left of a row, so that a rare one loses more
    than a frequent one. A row remembers up to which step it has decayed, and what it has missed is
    made up for before it is read again.

    With `exact=True` the result is that of dense Adam. Each row remembers when it was updated last,
    and before it is read again the steps that it has missed are made up for at once, in closed
    form. This equals dense Adam up to rounding as long as `epsilon` is small against the square
    root of a row's velocity and the learning rate is constant between two times that all rows catch
    up. All rows catch up before validation, callbacks' `on_epoch_end`, saving and
    whatever else looks at the weights (see `ctr_keras.layers.RowTrainer`). So the model must be one
    of `ctr_keras.models` or have the mixin `RowTrainer`; on TensorFlow any other raises. It takes
    no weight decay, and stores one more number for each row.

    Args:
        learning_rate: float or schedule; with `exact` a float, which callbacks may change between
            epochs. Defaults to `0.001`.
        beta_1: float. Decay of the momentum. Defaults to `0.9`.
        beta_2: float. Decay of the velocity. Defaults to `0.999`.
        epsilon: float. Added to the root of the velocity. Defaults to `1e-7`.
        weight_decay: float or None. Share of a weight, times the learning rate, that a step takes
            off. Defaults to `None`.
        exact: bool. Whether to make up for missed steps. Defaults to `False`.
        table_decay: float. Share that a row of a table loses, whatever the learning rate, by the
            first step that does not read it. Refused with `exact`. Defaults to `0.0`.
        name: str. Defaults to `"sparse_adam"`.
        **options: other options of `keras.optimizers.Adam`:

            - `clipvalue`, `clipnorm`, `global_clipnorm`, `loss_scale_factor`: as in Keras. A
              table's gradient is the sum of what all places of a batch say of each row, so it is
              clipped as the whole gradient would be. Refused where a `tf.distribute` strategy has
              several replicas.
            - `use_ema`, `ema_momentum`: as in Keras, rows that rest included. Their averages lag
              behind until `fit` ends or `catch_up_all` is called. Refused with `exact`.
            - `ema_overwrite_frequency`, `gradient_accumulation_steps` and `amsgrad` are refused.

    Raises:
        ValueError: for an option that is refused; with `exact`, for a `beta_1` that is not below
            the square root of `beta_2`, for which the closed form does not hold.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label
    >>> from ctr_keras.models import FM
    >>> features = FeatureSet(Categorical("a"), label=Label("y"), vocabulary_sizes={"a": 1000})
    >>> model = FM(features)
    >>> model.compile(SparseAdam(0.001), "binary_crossentropy")

    References:
        [Adam](https://arxiv.org/abs/1412.6980), Algorithm 1, on the rows of a table.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        exact: bool = False,
        table_decay: float = 0.0,
        name: str = "sparse_adam",
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            name=name,
            **options,
        )
        if exact and self.weight_decay:
            raise ValueError("SparseAdam(exact=True) takes no weight_decay: use DenseAdam for it")
        if exact and self.use_ema:
            raise ValueError("SparseAdam(exact=True) takes no use_ema: use DenseAdam for it")
        if exact and callable(learning_rate):
            raise ValueError(
                "SparseAdam(exact=True) takes no schedule, as it makes up for missed steps with "
                "one rate: change it between epochs, by LearningRateScheduler, or use DenseAdam"
            )
        if exact and beta_1 >= beta_2**0.5:
            raise ValueError(
                "SparseAdam(exact=True) needs a beta_1 below the square root of beta_2. "
                f"Received: beta_1={beta_1}, beta_2={beta_2}"
            )
        if exact and table_decay:
            raise ValueError(
                "SparseAdam(exact=True) takes no table_decay: use DenseAdam with a weight_decay"
            )
        if not 0 <= table_decay < 1:
            raise ValueError(f"table_decay must be at least 0 and below 1. Received: {table_decay}")
        self.exact = exact
        self.table_decay = table_decay

    def _step(self, gradient: Tensor, rate: Tensor, weight: Tensor, *slots: Tensor) -> Any:
        momentum, velocity = slots
        step = ops.cast(self.iterations + 1, weight.dtype)
        alpha = rate * ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        momentum = momentum + (gradient - momentum) * (1 - self.beta_1)
        velocity = velocity + (ops.square(gradient) - velocity) * (1 - self.beta_2)
        return weight - alpha * momentum / (ops.sqrt(velocity) + self.epsilon), momentum, velocity

    def get_config(self) -> Config:
        own = {"exact": self.exact, "table_decay": self.table_decay}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="ctr_keras")
class DenseAdam(keras.optimizers.Adam):
    """Adam that updates all rows of a table in every step, on all backends alike.

    On TensorFlow the gradient of a table lists what each place of a batch says of its row, as often
    as the row is read, and Keras' Adam squares each on its own: a row that is read twice adds
    `g_1^2 + g_2^2` to the sum of the velocity. In Adam it is `(g_1 + g_2)^2`, which Keras has on
    JAX, where gradients are whole. Here they are summed first on TensorFlow, too. This is where
    `SparseAdam(exact=True)` ends.

    Of Keras' other optimizers, too, all but SGD, Lion and Muon take the places of a row one by one
    on TensorFlow.

    Args:
        *arguments, **options: those of `keras.optimizers.Adam`. The name is `"dense_adam"` unless
            another is given.

    Example:

    >>> DenseAdam(0.001).learning_rate.dtype
    'float32'

    References:
        [Adam](https://arxiv.org/abs/1412.6980), Algorithm 1.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"name": "dense_adam", **options})

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None
    ) -> None:
        variables = built_with(self) if trainable_variables is None else list(trainable_variables)
        whole = [tables.whole(*pair) for pair in zip(grads, variables, strict=True)]
        super().apply(whole, trainable_variables)
