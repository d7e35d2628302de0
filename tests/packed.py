"""Random packed inputs whose ids are those of their columns."""

import keras
import numpy as np

# Whether to compile a training step: what is quicker for a few steps on each backend.
JIT = keras.backend.backend() == "jax"
# How to take a few steps: on TensorFlow, to trace one takes as long as to run twenty.
FEW_STEPS = {"jit_compile": JIT, "run_eagerly": not JIT}


def packed_inputs(features, rows=8, seed=0):
    """Packed inputs of a feature set; about one id in ten is missing, lists are padded."""
    draw = np.random.default_rng(seed)
    ranges = features.id_ranges

    def ids(feature, *shape):
        known = ranges[features.vocabulary_name(feature)]
        drawn = draw.integers(known.start, known.stop, (rows, *shape))
        return np.where(draw.random(drawn.shape) < 0.1, 0, drawn).astype("int32")

    inputs = {}
    for name, columns in (("categorical", features.categorical), ("crossed", features.crossed)):
        if columns:
            inputs[name] = np.stack([ids(feature) for feature in columns], axis=1)
    if features.numeric:
        values = draw.normal(size=(rows, len(features.numeric)))
        inputs["numeric"] = values.astype("float32")
    for feature in (*features.multi_valued, *features.sequences):
        lists = ids(feature, feature.max_length)
        lengths = draw.integers(0, feature.max_length + 1, (rows, 1))
        inputs[feature.name] = np.where(np.arange(feature.max_length) < lengths, lists, 0)
    for name, feature in features.weights_inputs.items():
        weights = draw.uniform(0.5, 1.5, (rows, feature.max_length))
        inputs[name] = np.where(inputs[feature.name], weights, 0).astype("float32")
    return inputs


def labels(rows=8, seed=1, count=1):
    """Clicks, or what else `count` labels say, (rows, count) float32."""
    return np.random.default_rng(seed).integers(0, 2, (rows, count)).astype("float32")


def labels_for(model, rows=8):
    """As many as the model predicts."""
    return labels(rows, count=model.output_shape[-1])


def called(model, inputs):
    """The outputs of a model, as arrays.

    By one program on JAX, which compiles each operation that is run alone: five times as long.
    """
    if JIT:
        return model.predict_on_batch(inputs)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs))


def inputs_of(model, inputs):
    """Those of the packed inputs that a model takes."""
    return {tensor.name: inputs[tensor.name] for tensor in model.inputs}
