"""What tests of identities between models share: logits of layers, weights carried over."""

import keras


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def logits(model, inputs, *names):
    """Outputs of layers by name; the model's logit without names."""
    outputs = [model.get_layer(name).output for name in names or ("logit",)]
    values = keras.Model(model.input, outputs)(inputs)
    values = [to_numpy(value) for value in keras.tree.flatten(values)]
    return values if names else values[0]


def copy_weights(source, target, *names):
    """Gives layers of these names the same weights."""
    for name in names:
        target.get_layer(name).set_weights(source.get_layer(name).get_weights())
