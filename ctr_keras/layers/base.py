"""What layers share: configs, masks that end, the check of a choice, dense layers inside."""

import inspect
from collections.abc import Iterable
from typing import Any

import keras

from ctr_keras.features import FeatureSet
from ctr_keras.types import Config, Shape


class ConfiguredLayer(keras.layers.Layer):
    """A layer whose config is its constructor's arguments, each kept in the attribute of its name.

    A class below one of ours adds its own arguments to the config, as below any layer of Keras.
    """

    def get_config(self) -> Config:
        ours = next(kind for kind in type(self).__mro__ if kind.__module__.startswith(__package__))
        names = [*inspect.signature(vars(ours)["__init__"]).parameters][1:-1]  # no self, no kwargs
        return {**super().get_config(), **{n: _serialized(n, getattr(self, n)) for n in names}}


def _serialized(name: str, value: Any) -> Any:
    if isinstance(value, FeatureSet):
        return value.to_dict()
    if name.endswith("activation"):
        return keras.activations.serialize(value)  # of one of Keras' own, its name
    return keras.saving.serialize_keras_object(value) if callable(value) else value


class PoolingLayer(ConfiguredLayer):
    """A layer whose output has no fields, and so no mask."""

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Checks that an argument is one of those there are."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {value!r}")


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
