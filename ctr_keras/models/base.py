"""The class of all models of this library."""

import os
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers import FieldEmbedding, RowTrainer


def built_features(model: keras.Model, features: FeatureSet) -> FeatureSet:
    """The features that a model was built on: those of the data, without what it does not read.

    Args:
        model: keras.Model.
        features: FeatureSet of the data.

    Example:

    >>> from ctr_keras.features import Categorical, Crossed, Label
    >>> from ctr_keras.models import FM
    >>> features = FeatureSet(
    ...     Categorical("a"), Categorical("b"), Crossed("a", "b"), label=Label("y"),
    ...     vocabulary_sizes={"a": 3, "b": 3, "a_x_b": 9},
    ... )
    >>> built_features(FM(features), features).field_names
    ('a', 'b')
    """
    declared = [getattr(layer, "features", None) for layer in model.layers]
    of_layers = [found for found in declared if isinstance(found, FeatureSet)]
    leaves_out = of_layers and not any(found.crossed for found in of_layers)
    built = features.without_crossed() if leaves_out else features
    read = next((found.read for found in of_layers if found.read is not None), None)
    return built if read is None else built.reading(read)


@keras.saving.register_keras_serializable(package="ctr_keras")
class CTRModel(RowTrainer, keras.Model):
    """A functional Keras model whose `fit` trains the rows of tables that a batch reads.

    With one of `ctr_keras.optimizers`' sparse optimizers, a step touches no other rows, however
    large the vocabulary. All builders of `ctr_keras.models` return this class; other models take
    the mixin `ctr_keras.layers.RowTrainer`. On TensorFlow any `keras.Model` does so as well, but
    for the exact mode of `SparseAdam`. Such an optimizer takes any policy but `mixed_float16`,
    which scales the loss.

    Args:
        inputs, outputs, name: as in `keras.Model`.

    Raises:
        TypeError: for a subclass with a `call` of its own, which is not functional.

    Example:

    >>> x = keras.Input((2,))
    >>> CTRModel(x, keras.layers.Dense(1)(x)).output_shape
    (None, 1)
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "call" in vars(cls):  # Keras makes CTRModel functional for good, with the first model
            raise TypeError(
                f"{cls.__name__} has a call of its own, but a CTRModel is functional: write "
                f"`class {cls.__name__}(RowTrainer, keras.Model)`, with ctr_keras.layers.RowTrainer"
            )

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        # By name: Keras takes the values of a dict in order, whatever their keys, so that one more
        # (all that `features.pack` gives, say) would stand in for another.
        return super().call(self._by_name(inputs), training=training, mask=self._by_name(mask))

    def _by_name(self, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {tensor.name: values[tensor.name] for tensor in self.inputs}

    def save(self, filepath: str | os.PathLike[str], *arguments: Any, **options: Any) -> None:
        operations = [op for op in self.operations if not isinstance(op, keras.layers.Layer)]
        if operations and str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"{self.name} has operations outside of layers ({operations[0].name}), which Keras "
                "does not load from .h5: save it as .keras"
            )
        super().save(filepath, *arguments, **options)

    def export(
        self, filepath: str | os.PathLike[str], format: str = "tf_saved_model", **options: Any
    ) -> None:
        mixed = [layer for layer in self.layers if layer.compute_dtype != "float32"]
        if mixed and format in ("onnx", "litert"):
            raise ValueError(
                f"{self.name} computes in {mixed[0].compute_dtype}, of which Keras writes no "
                f"{format} file that loads: build it under float32 and load its weights"
            )
        super().export(filepath, format, **options)

    def quantize(self, mode: str | None = None, config: Any = None, **options: Any) -> None:
        """Quantizes tables and dense layers for inference, as `keras.Model.quantize`.

        By default int8 is for weights only. Keras rounds what goes into dense layers to int8, too,
        which about doubles the error of a score, and makes TensorFlow multiply integers, on a CPU
        ten times slower than floats. To have it all the same, name it:
        `Int8QuantizationConfig(activation_quantizer=AbsMaxQuantizer(axis=-1))`. Keras 3.12 has no
        such choice and always rounds both.

        Args:
            mode: str. `"int8"`; with `"int4"` and `"float8"` tables stay as they are. Defaults to
                `None`: that of the config.
            config: keras.quantizers.QuantizationConfig. Defaults to `None`.
            **options: what else `keras.Model.quantize` takes, such as `filters`.

        Raises:
            ValueError: for modes that need calibration, `"gptq"` and `"awq"`.
        """
        if _is_default(config):
            config = keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)
        super().quantize(mode, config, **options)
        for layer in flat_layers(self):  # Keras only looks at layers that have none inside
            if isinstance(layer, FieldEmbedding) and layer.number_layers:
                _quantize(layer, mode, config)
        # What was traced before goes on with the floats.
        self.train_function = self.test_function = self.predict_function = None


def _quantize(layer: FieldEmbedding, mode: str | None, config: Any) -> None:
    try:
        layer.quantize(mode or config.mode)
    except NotImplementedError as error:
        warnings.warn(str(error), stacklevel=3)


def _is_default(config: Any) -> bool:
    """Whether a config is what Keras makes of `quantize("int8")` before it calls a model's own."""
    kind = getattr(keras.quantizers, "Int8QuantizationConfig", ())  # Keras 3.12 has none
    return isinstance(config, kind) and config.get_config() == type(config)().get_config()


# An .h5 file names a model by its class alone, where a .keras file has the registered name.
keras.saving.get_custom_objects()["CTRModel"] = CTRModel
