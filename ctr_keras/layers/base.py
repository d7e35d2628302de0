"""What layers share: configs, masks that end, the check of a choice, dense layers inside."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet
from ctr_keras.keras_internals import FinishesBuild, named_layers
from ctr_keras.types import Config, Initializer, Shape, Tensor


class ConfiguredLayer(FinishesBuild):
    """A layer whose config is its constructor's arguments, each kept in the attribute of its name.

    A class below one of ours adds its own arguments to the config, as below any layer of Keras.
    An argument may be a number of NumPy's: the attribute is Python's, which JSON takes.

    The config also says which layers inside are quantized, by `quantize` of a model or of these
    layers, and how: they are quantized again as soon as they are built, before weights are loaded.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._to_quantize: Config = {}  # by path inside, mode and config

    def __setattr__(self, name: str, value: Any) -> None:
        is_argument = not name.startswith("_")  # other lists are Keras' own
        super().__setattr__(name, plain_numbers(value) if is_argument else value)

    def get_config(self) -> Config:
        ours = (kind for kind in type(self).__mro__ if kind.__module__.startswith(__package__))
        init = next(vars(kind)["__init__"] for kind in ours if "__init__" in vars(kind))
        names = [*inspect.signature(init).parameters][1:-1]  # without self and kwargs
        quantized = _quantized_inside(self) if self.built else dict(self._to_quantize)
        return {
            **super().get_config(),
            **{name: _serialized(name, getattr(self, name)) for name in names},
            **({"quantized": quantized} if quantized else {}),
        }

    @classmethod
    def from_config(cls, config: Config) -> "ConfiguredLayer":
        config = dict(config)
        quantized = config.pop("quantized", {})
        layer: ConfiguredLayer = super().from_config(config)
        layer._to_quantize = quantized
        return layer

    def finish_build(self) -> None:
        inside = named_layers(self) if self._to_quantize else {}
        for path, (mode, config) in self._to_quantize.items():
            if inside[path].quantization_mode is None:  # a layer that was given may be already
                config = keras.saving.deserialize_keras_object(config)
                inside[path].quantize(mode, config=config)


def _quantized_inside(layer: keras.layers.Layer) -> Config:
    """Mode and config of each quantized layer inside a layer, by its path there."""
    return {
        path: [
            inside.quantization_mode,
            keras.saving.serialize_keras_object(getattr(inside, "quantization_config", None)),
        ]
        for path, inside in named_layers(layer).items()
        if inside.quantization_mode is not None
    }


def _serialized(name: str, value: Any) -> Any:
    if isinstance(value, FeatureSet):
        return value.to_dict()
    if name.endswith("activation") and callable(value):
        return keras.activations.serialize(value)  # of one of Keras' own, its name
    return keras.saving.serialize_keras_object(value) if callable(value) else value


def plain_numbers(value: Any) -> Any:
    """A value with Python's numbers for NumPy's, in tuples, lists and dicts as well."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (tuple, list):
        return type(value)(map(plain_numbers, value))
    if type(value) is dict:
        return {key: plain_numbers(inside) for key, inside in value.items()}
    return value


class PoolingLayer(ConfiguredLayer):
    """A layer whose output has no fields, and so no mask."""

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Checks that an argument is one of those there are."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {value!r}")


def check_fields(input_shape: Shape, at_least: int = 1) -> None:
    """Checks that an input is `(batch, fields, dim)` with both known, of so many fields."""
    if len(input_shape) != 3 or None in input_shape[1:] or input_shape[1] < at_least:
        fewer = f", of at least {at_least} fields" if at_least > 1 else ""
        raise ValueError(
            f"input must be (batch, fields, dim), both known{fewer}. Received: {input_shape}"
        )


def exact_softmax(scores: Tensor) -> Tensor:
    """The softmax over the last axis, in float32 at least: half precision loses too much."""
    dtype = keras.backend.standardize_dtype(scores.dtype)
    wide = ops.cast(scores, "float32") if dtype in ("float16", "bfloat16") else scores
    return ops.cast(ops.softmax(wide, axis=-1), dtype)


def with_nan_of(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Outputs that are NaN where the inputs are, of which a ReLU may have made 0 (see `MLP`)."""
    return outputs + 0.0 * ops.sum(inputs, axis=-1, keepdims=True)


def identities(shape: Shape, dtype: Any = None) -> Tensor:
    """An initializer: kernels through which vectors stay as they are."""
    if len(shape) < 3:
        return ops.ones(shape, dtype)
    return ops.broadcast_to(ops.eye(shape[-1], dtype=dtype), shape)


def glorot_of_one(width: int, units: int) -> Initializer:
    """What Keras would draw a single kernel from: of three axes it takes all kernels for one."""
    bound = (6 / (width + units)) ** 0.5
    return keras.initializers.RandomUniform(-bound, bound)


def by_rows(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """What a function of vectors `(rows, dim)` makes of the last axis of a tensor.

    A dense layer or `ops.matmul` does so itself, but on TensorFlow works out shapes at each call,
    in operations that take longer than the product of one row.
    """
    outputs = function(ops.reshape(inputs, (-1, inputs.shape[-1])))
    return ops.reshape(outputs, (-1, *ops.shape(inputs)[1:-1], outputs.shape[-1]))


def dense_inside(
    layer: Any, units: int, name: str, input_shape: Shape, **options: Any
) -> keras.layers.Dense:
    """A dense layer, built, with the policy, kernel initializer and regularizer of another."""
    dense = keras.layers.Dense(
        units,
        kernel_initializer=layer.kernel_initializer.clone(),
        kernel_regularizer=layer.kernel_regularizer,
        dtype=layer.dtype_policy,
        name=name,
        **options,
    )
    dense.build(input_shape)
    return dense
