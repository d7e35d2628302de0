"""Feature sets of a given size, and parameter counts that need no memory."""

import itertools

import keras
import numpy as np

from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Numeric


def feature_set(categorical, numeric=0, *, ids=None, crossed_ids=None):
    """So many fields, whose table has `ids` rows, and `crossed_ids` those of all pairs."""
    names = [f"c{i}" for i in range(categorical)]
    pairs = [] if crossed_ids is None else [*itertools.combinations(names, 2)]
    sizes = dict.fromkeys(names, 2)
    if ids is not None:
        sizes |= _filled(names, ids)
    if pairs:
        sizes |= _filled([f"{first}_x_{second}" for first, second in pairs], crossed_ids)
    return FeatureSet(
        *(Categorical(name) for name in names),
        *(Numeric(f"n{i}") for i in range(numeric)),
        *(Crossed(*pair) for pair in pairs),
        label=Label("click"),
        vocabulary_sizes=sizes,
    )


def _filled(names, rows):
    """Sizes of vocabularies that fill a table: row 0, and an OOV id for each."""
    values = rows - 1 - len(names)
    return {
        name: values // len(names) + (values % len(names) if name == names[0] else 0)
        for name in names
    }


def parameter_count(builder, *arguments, **options):
    """Number of trainable parameters, counted on weights that are never allocated."""
    with keras.StatelessScope(initialize_variables=False):
        model = builder(*arguments, **options)
        count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    keras.utils.clear_session()  # or Keras allocates them all when it leaves the next such scope
    return count


def tower(width, *hidden, normalized=False):
    """Parameters of a deep tower and its logit; a normalization has two more for each unit."""
    count = 0
    for units in hidden:
        count += width * units + units + (2 * units if normalized else 0)
        width = units
    return count + width + 1
