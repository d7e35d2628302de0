"""The packed tensors of a feature set: inputs for Keras, and layers that read them."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from ctr_keras.features import PACKED_INPUTS, Feature, FeatureSet
from ctr_keras.layers.base import ConfiguredLayer
from ctr_keras.tables.checking import InputCheck, check_inputs
from ctr_keras.types import Inputs, Tensor


def feature_inputs(features: FeatureSet) -> dict[str, Tensor]:
    """One `keras.Input` for each packed input of a feature set.

    Args:
        features: FeatureSet.

    Returns:
        Name to input, in the order of `features.packed_shapes`, which has their shapes, and of the
        types of `features.packed_types`.

    Example:

    >>> from ctr_keras.features import Categorical, FeatureSet, Label, Numeric
    >>> inputs = feature_inputs(FeatureSet(Categorical("c"), Numeric("n"), label=Label("y")))
    >>> {name: (tensor.shape, tensor.dtype) for name, tensor in inputs.items()}
    {'categorical': ((None, 1), 'int32'), 'numeric': ((None, 1), 'float32')}
    """
    return {
        name: keras.Input(shape, dtype=features.packed_types[name], name=name)
        for name, shape in features.packed_shapes.items()
    }


class PackedLayer(ConfiguredLayer):
    """A layer on packed inputs, all or those of some features, which checks what it is given.

    In an eager call ids are checked, before Keras casts them, unless `check_ids` is to mark the
    wrong ones; elsewhere shapes and types are.
    """

    features: FeatureSet
    check_ids: bool
    fields: Sequence[str] | None = None
    sequences: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # numbers are cast when they are vectors

    def __call__(self, inputs: Inputs, *arguments: Any, **options: Any) -> Tensor:
        check_inputs(self.input_checks, inputs, values=not self.check_ids)
        return super().__call__(inputs, *arguments, **options)

    @functools.cached_property
    def input_checks(self) -> tuple[InputCheck, ...]:
        """What each input that this layer reads must be."""
        return tuple(self._input_check(name) for name in self._input_names)

    @property
    def _input_names(self) -> list[str]:
        names = [kind for kind in PACKED_INPUTS if self._of(getattr(self.features, kind))]
        names += [f.name for f in self._of(self.features.multi_valued)] + [*self.sequences]
        return names + [n for n, f in self.features.weights_inputs.items() if self._of([f])]

    def _of(self, features: Iterable[Feature]) -> list[Feature]:
        """Those of the features that this layer reads as fields."""
        names = self.features.field_names if self.fields is None else self.fields
        return [f for f in features if f.name in names]

    def _input_check(self, name: str) -> InputCheck:
        width = self.features.packed_shapes[name][0]
        if name == "numeric":
            return InputCheck(name, width, None)
        if name in self.features.weights_inputs:
            return InputCheck(name, width, None, self.features.weights_inputs[name].name)
        features = self.features.packed_features[name]
        read = [*self._of(features), *(self.features[sequence] for sequence in self.sequences)]
        fields = tuple((f.name, self._ids_of(f)) if f in read else None for f in features)
        return InputCheck(name, width, fields if len(fields) == width else fields * width)

    def _ids_of(self, feature: Feature) -> range:
        return self._id_ranges[self.features.vocabulary_name(feature)]

    @functools.cached_property
    def _id_ranges(self) -> dict[str, range]:
        """Those of the features, which take a walk over all of them."""
        return self.features.id_ranges
