"""A small log, and models that were trained on it by some optimizer."""

import keras
import numpy as np
import pytest
from keras import ops

from ctr_keras import tables
from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued
from ctr_keras.keras_internals import built_with
from ctr_keras.models import FM
from tests.packed import FEW_STEPS

SIZE = 40
FEATURES = FeatureSet(
    Categorical("a"),
    Categorical("b"),
    MultiValued("m", max_length=3),
    label=Label("y"),
    vocabulary_sizes={"a": SIZE, "b": SIZE, "m": SIZE},
)


BY_ROWS = pytest.mark.skipif(
    not tables.HAS_ROW_GRADIENTS, reason="tables are trained whole, as by Keras' optimizers"
)


def batches(count, rows=8, seed=0, ids=None):
    """Batches that each read some of the ids, several times."""
    generator = np.random.default_rng(seed)
    first = {name: span.start for name, span in FEATURES.id_ranges.items()}
    for _ in range(count):
        low = 0 if ids else int(generator.integers(SIZE - 4))
        drawn = generator.integers(low, low + (ids or 4), size=(rows, 5))
        packed = {
            "categorical": (drawn[:, :2] + [first["a"], first["b"]]).astype("int32"),
            "m": np.where(drawn[:, 2:] % 3 == 0, 0, drawn[:, 2:] + first["m"]).astype("int32"),
        }
        yield packed, generator.integers(0, 2, size=(rows, 1)).astype("float32")


def trained(optimizer, steps=12, build=FM, callbacks=(), compiled=FEW_STEPS, **arguments):
    """The model after steps of `fit` from weights that are always the same."""
    keras.utils.set_random_seed(4)
    model = build(FEATURES, dim=4, embeddings_initializer="random_normal", **arguments)
    model.compile(optimizer, "binary_crossentropy", **compiled)
    model.fit(batches(steps), steps_per_epoch=steps, callbacks=list(callbacks), verbose=0)
    return model


def summed(optimizer):
    """An optimizer of Keras' that is given whole gradients.

    On TensorFlow, Keras 3.15 squares what each place of a batch says of a row, and not their sum.
    """
    apply = optimizer.apply

    def whole(gradient, variable):
        if not tables.is_sparse(gradient):
            return gradient
        return ops.scatter(gradient.indices[:, None], gradient.values, variable.shape)

    def apply_whole(gradients, variables=None):
        variables = variables or built_with(optimizer)
        apply([whole(g, v) for g, v in zip(gradients, variables, strict=True)], variables)

    optimizer.apply = apply_whole
    return optimizer


def weights(model):
    return {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}


def assert_same(model, other, **tolerance):
    expected = weights(other)
    for path, value in weights(model).items():
        np.testing.assert_allclose(value, expected[path], **tolerance, err_msg=path)
