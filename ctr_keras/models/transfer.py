"""A model's weights carried over to another feature set, by value."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet, Numeric, Vocabulary
from ctr_keras.features.packing import look_up
from ctr_keras.features.statistics import learns_numbers
from ctr_keras.layers import (
    MLP,
    CompactEmbedding,
    FieldAwareInteraction,
    FieldEmbedding,
    InteractingLayer,
    LinearLogit,
)
from ctr_keras.layers.base import check_choice
from ctr_keras.models.base import built_features
from ctr_keras.trees import TreeLeaves
from ctr_keras.types import Array, Variable

NewRows: TypeAlias = Literal["oov", "mean", "drawn"]

_DRAWN, _MEAN = -1, -2  # rows of a table that have no single source


def transfer(
    old_model: keras.Model,
    old_features: FeatureSet,
    new_features: FeatureSet,
    build: Callable[[FeatureSet], keras.Model] | None = None,
    new_rows: NewRows = "oov",
) -> keras.Model:
    """The same model for another feature set, with the weights of the old one by value.

    A row of an embedding table is that of the same value, whatever its id. A value that is new to a
    vocabulary starts from the out-of-vocabulary row that it had until now, and one that has left it
    is out of vocabulary from now on, so that every score stays what it was for all values that are
    known to both, or to the new set alone (with other `new_rows` only for those known to both).
    Out-of-vocabulary ids, hash buckets and buckets of numbers are carried over by place; where the
    number of buckets has changed, all are new. Vocabularies of new features, and what else is new,
    keep their initial weights.

    A weight of a number fits the scale that it was trained on, so numbers have to keep theirs:
    `numbers_of` in `FeatureSet.fit` keeps the statistics of an earlier set, and other ones are
    refused. A model knows sizes, not values: an `old_features` of the right sizes but of other
    values than the model was trained on goes unnoticed, and all weights go astray.

    While the packed columns stay the same, all other weights are copied. Where columns come, go or
    change places, `build` has to make the new model, and the weights of layers whose input depends
    on the fields are carried over by field: `InteractingLayer`, `Dense` and `MLP` on all fields
    side by side. A model with other such layers is refused.

    Args:
        old_model: functional model whose layers are those of this library, or do not depend on the
            features. Its optimizer is left behind: compile the new model.
        old_features: FeatureSet that it was built with, fitted or loaded by `load_fitted`.
        new_features: FeatureSet, fitted with `numbers_of=old_features`, or loaded.
        build: function from a FeatureSet to a model with layers of the same names, or None.
            Defaults to `None`: the old model's layers with the features replaced.
        new_rows: str. What the rows of new values start from: `"oov"`, `"mean"` of all rows of
            their vocabulary, or `"drawn"` as in a new model. Defaults to `"oov"`.

    Returns:
        A new model of the old one's class, or what `build` makes, not compiled.

    Raises:
        ValueError: for weights that cannot be carried over, naming the layer, and for a number
            that the two sets scale differently, naming the feature; without `build`, also for
            a model whose class has a constructor of its own.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> from ctr_keras.models import FM
    >>> declared = FeatureSet(
    ...     Categorical("site"), Numeric("price", scale="z_score"), label=Label("click")
    ... )
    >>> old = declared.fit({"site": ["b", "b"], "price": [1, 3]})
    >>> new = declared.fit({"site": ["a", "a", "b"], "price": [5, 7, 9]}, numbers_of=old)
    >>> old_model = FM(old, dim=2)
    >>> new_model = transfer(old_model, old, new)
    >>> rows = {"site": ["b", "c"], "price": [2.5, 8]}
    >>> bool(np.allclose(old_model(old.pack(rows)), new_model(new.pack(rows))))
    True
    """
    check_choice("new_rows", new_rows, get_args(NewRows))
    old_features = built_features(old_model, old_features)
    _check_features(old_model, old_features)
    _check_numbers(old_features, new_features)
    if build is None:
        new_features = new_features if old_features.crossed else new_features.without_crossed()
        if _columns(old_features) != _columns(new_features):
            raise ValueError(
                "the packed columns of the two feature sets differ: pass `build`, a function from "
                "the new FeatureSet to the model"
            )
    new_model = build(new_features) if build else _rebuilt(old_model, new_features)
    new_features = built_features(new_model, new_features)
    is_same = _columns(old_features) == _columns(new_features)
    if not is_same:
        _check_no_field_aware(old_model)
    sources = _sources(old_features, new_features, new_rows)
    for old, new in _pairs(old_model, new_model):
        if _embeddings(new):
            for pair in zip(_embeddings(old), _embeddings(new), strict=True):
                _carry_over_table(*pair, sources)
            _copy_all(new, _without_tables(old), _without_tables(new))
        elif is_same or _is_without_fields(new_model, new):
            _copy_all(new, old.weights, new.weights)
        else:
            fields = _fields_side_by_side(new_model, new_features, new)
            _carry_over_by_field(
                old, _fields_side_by_side(old_model, old_features, old), new, fields
            )
    return new_model


def _pairs(
    old_model: keras.Model, new_model: keras.Model
) -> Iterator[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """The layers with weights of both models, by name."""
    old_layers = {layer.name: layer for layer in old_model.layers}
    for layer in new_model.layers:
        old = old_layers.get(layer.name)
        if layer.weights and type(old) is not type(layer):
            raise ValueError(f"the old model has no {type(layer).__name__} {layer.name!r}")
        if layer.weights:
            yield old, layer


def _check_features(model: keras.Model, features: FeatureSet) -> None:
    for layer in model.layers:
        if isinstance(layer, TreeLeaves):
            raise ValueError(
                f"the trees of {layer.name!r} split on the ids that they were grown on: grow new "
                "ones on the new data"
            )
        if isinstance(getattr(layer, "features", None), FeatureSet) and layer.features != features:
            raise ValueError(
                f"layer {layer.name!r} was built with other features than `old_features`"
            )
        if any(keras.backend.standardize_dtype(w.dtype) == "int8" for w in layer.weights):
            raise ValueError(
                f"layer {layer.name!r} is quantized: transfer the float model, then quantize"
            )


def _check_no_field_aware(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, FieldAwareInteraction):
            raise ValueError(
                f"the columns have changed, and {layer.name!r} has a vector of each value for each "
                "other column, in their order: train a new model"
            )


def _check_numbers(old: FeatureSet, new: FeatureSet) -> None:
    """Refuses numbers of one name that mean something else; other numbers of buckets are new."""
    of_old = {feature.name: feature for feature in old.features}
    for feature in new.features:
        before = of_old.get(feature.name)
        if not (isinstance(feature, Numeric) and isinstance(before, Numeric)):
            continue
        is_same = feature.bucket_count != before.bucket_count or (
            feature.scale == before.scale
            and np.array_equal(_learned(old, before), _learned(new, feature))
        )
        if not is_same:
            raise ValueError(
                f"number {feature.name!r} would mean something else: {before.scale} in the old "
                f"feature set, {feature.scale} of other statistics or boundaries in the new one: "
                "declare the same scale, and prepare the new data like the old ones, by `ctr-keras "
                "prepare --like` (of a frame, `fit(frame, numbers_of=old_features)`), or train "
                "without start_from"
            )


def _learned(features: FeatureSet, number: Numeric) -> Array:
    """The statistics or boundaries of a number, as exact as its values are."""
    learned = features.statistics.numbers[number.name] if learns_numbers(number) else ()
    return np.array(number.boundaries or learned, np.float32)


def _columns(features: FeatureSet) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """What decides the shapes and the order of everything but tables."""
    shapes = features.packed_shapes
    return {
        name: (tuple(f.name for f in members), shapes[name])
        for name, members in features.packed_features.items()
    }


def _rebuilt(model: keras.Model, features: FeatureSet) -> keras.Model:
    """A model of the same layers, with new weights, on other features of the same columns."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(getattr(layer, "features", None), FeatureSet):
            config["features"] = features.to_dict()
        return type(layer).from_config(config)

    kind = type(model)
    if not {"inputs", "outputs", "name"} <= inspect.signature(kind.__init__).parameters.keys():
        raise ValueError(
            f"a {kind.__name__} is not made of inputs and outputs: pass `build`, a function "
            "from the new FeatureSet to the model, with layers of the same names"
        )
    # Without the optimizer, which would be copied, too.
    bare = keras.Model(model.input, model.output, name=model.name)
    cloned = keras.models.clone_model(bare, clone_function=clone)
    return kind(cloned.input, cloned.output, name=model.name)


# Tables.


def _sources(old: FeatureSet, new: FeatureSet, new_rows: NewRows) -> Array:
    """The old id of every new id, or `_DRAWN` or `_MEAN`."""
    sources = np.full(new.id_count, _DRAWN)
    sources[0] = 0
    of_old = {vocabulary.name: vocabulary for vocabulary in old.vocabularies}
    for vocabulary in new.vocabularies:
        if vocabulary.name in of_old:
            ids = new.id_ranges[vocabulary.name]
            of_vocabulary = sources[ids.start : ids.stop]
            of_vocabulary[:] = _vocabulary_sources(old, new, of_old[vocabulary.name], vocabulary)
            if vocabulary.is_counted and new_rows != "oov":
                is_new = _is_new(old, new, vocabulary)
                of_vocabulary[is_new] = _MEAN if new_rows == "mean" else _DRAWN
    return sources


def _vocabulary_sources(
    old: FeatureSet, new: FeatureSet, old_vocabulary: Vocabulary, vocabulary: Vocabulary
) -> Array:
    start, fixed = old.id_ranges[vocabulary.name].start, np.arange(vocabulary.fixed_ids)
    if not (vocabulary.is_counted and old_vocabulary.is_counted):
        same = (
            (v.hash_buckets, v.number_buckets, v.fixed_ids) for v in (old_vocabulary, vocabulary)
        )
        is_same = len(set(same)) == 1
        return start + fixed if is_same else np.full(len(new.id_ranges[vocabulary.name]), _DRAWN)
    values = list(new.statistics.values[vocabulary.name])
    known = look_up(old, [(vocabulary.name, values)], old.statistics)
    return np.concatenate([start + fixed % old_vocabulary.fixed_ids, known])


def _is_new(old: FeatureSet, new: FeatureSet, vocabulary: Vocabulary) -> Array:
    """Whether each id of a counted vocabulary is a value's that the old one does not know."""
    known = set(old.statistics.values.get(vocabulary.name, ()))
    is_new = [value not in known for value in new.statistics.values[vocabulary.name]]
    return np.concatenate([np.zeros(vocabulary.fixed_ids, bool), np.array(is_new, bool)])


def _embeddings(layer: keras.layers.Layer) -> list[FieldEmbedding]:
    """The embeddings that a layer is or has."""
    if isinstance(layer, FieldEmbedding):
        return [layer]
    if isinstance(layer, LinearLogit):
        return [layer.weighting]
    return list(layer.tables) if isinstance(layer, CompactEmbedding) else []


def _without_tables(layer: keras.layers.Layer) -> list[Variable]:
    inside = {id(w) for embedding in _embeddings(layer) for w in embedding.weights}
    return [weight for weight in layer.weights if id(weight) not in inside]


def _carry_over_table(old: FieldEmbedding, new: FieldEmbedding, sources: Array) -> None:
    if old.dim != new.dim:
        raise ValueError(f"layer {new.name!r} is {new.dim} wide, and the old one {old.dim}")
    old_rows, new_rows = old.vocabulary_rows, new.vocabulary_rows
    if old_rows and new_rows:
        old_table, table = ops.convert_to_numpy(old.table), _copied(new.table)
        table[0] = old_table[0]
        for name in new_rows.keys() & old_rows.keys():
            ids, rows = new.features.id_ranges[name], np.array(new_rows[name])
            source = sources[ids.start : ids.stop]
            is_known = source >= 0
            first = old_rows[name].start - old.features.id_ranges[name].start
            table[rows[is_known]] = old_table[source[is_known] + first]
            if (source == _MEAN).any():
                of_old = old_table[old_rows[name].start : old_rows[name].stop]
                table[rows[source == _MEAN]] = of_old.mean(axis=0)
        new.table.assign(table)
    names, old_names = _numbers(new), _numbers(old)
    if names and old_names and new.numeric == old.numeric:
        for weight, old_weight in zip(new.numeric_weights, old.numeric_weights, strict=True):
            weight.assign(_by_name(old_weight, old_names, weight, names))
    if new.step_rows and old.step_rows:
        _carry_over_steps(old, new)


def _carry_over_steps(old: FieldEmbedding, new: FieldEmbedding) -> None:
    """By number and place, of numbers with as many buckets as before."""
    old_steps, steps = ops.convert_to_numpy(old.bucket_steps.steps), _copied(new.bucket_steps.steps)
    for name in new.step_rows.keys() & old.step_rows.keys():
        if len(new.step_rows[name]) == len(old.step_rows[name]):
            steps[np.array(new.step_rows[name])] = old_steps[np.array(old.step_rows[name])]
    new.bucket_steps.steps.assign(steps)


def _numbers(embedding: FieldEmbedding) -> list[str]:
    names = [feature.name for feature in embedding.features.numeric]
    return [name for name in names if embedding.fields is None or name in embedding.fields]


def _by_name(old: Variable, old_names: Sequence[str], new: Variable, names: Sequence[str]) -> Array:
    """The new rows, but the old one for each name that was there."""
    old_rows, rows = ops.convert_to_numpy(old), _copied(new)
    for row, name in enumerate(names):
        if name in old_names:
            rows[row] = old_rows[old_names.index(name)]
    return rows


def _copied(weight: Variable) -> Array:
    """An array of its own: on JAX, a training step gives the memory of a model's arrays away."""
    return np.array(ops.convert_to_numpy(weight))


# Other weights.


def _copy_all(layer: keras.layers.Layer, old: list[Variable], new: list[Variable]) -> None:
    shapes = [[tuple(weight.shape) for weight in weights] for weights in (old, new)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"layer {layer.name!r} has weights of {shapes[1]}, and the old one of {shapes[0]}"
        )
    for source, target in zip(old, new, strict=True):
        target.assign(_copied(source))


def _carry_over_by_field(
    old: keras.layers.Layer,
    old_fields: Sequence[str],
    new: keras.layers.Layer,
    fields: Sequence[str],
) -> None:
    """A kernel on all fields side by side has a block of rows for each field."""
    if not (old_fields and fields):
        raise ValueError(
            f"the columns have changed, and layer {new.name!r} ({type(new).__name__}) depends on "
            "them in a way that does not say which weights belong to which field"
        )
    dense, old_dense = (
        layer.blocks[0] if isinstance(layer, MLP) else layer for layer in (new, old)
    )
    blocks = ops.reshape(dense.kernel, (len(fields), -1, dense.kernel.shape[-1]))
    old_blocks = ops.reshape(old_dense.kernel, (len(old_fields), -1, old_dense.kernel.shape[-1]))
    if blocks.shape[1:] != old_blocks.shape[1:]:
        raise ValueError(
            f"layer {new.name!r} has kernels of {blocks.shape[1:]} a field, and the old one of "
            f"{old_blocks.shape[1:]}"
        )
    by_field = _by_name(old_blocks, old_fields, blocks, fields)
    dense.kernel.assign(by_field.reshape(dense.kernel.shape))
    old_others = [weight for weight in old.weights if weight is not old_dense.kernel]
    _copy_all(new, old_others, [weight for weight in new.weights if weight is not dense.kernel])


def _fields_side_by_side(
    model: keras.Model, features: FeatureSet, layer: keras.layers.Layer
) -> Sequence[str]:
    """The fields whose vectors, side by side, are a layer's input; none if it has another."""
    if not isinstance(layer, MLP | keras.layers.Dense):
        return ()
    before = _layer_before(model, layer)
    count = len(features.fields)
    is_flat = isinstance(before, keras.layers.Flatten) and before.input.shape[1:-1] == (count,)
    return features.field_names if is_flat else ()


def _is_without_fields(model: keras.Model, layer: keras.layers.Layer) -> bool:
    """Whether a layer's weights do not depend on which fields there are."""
    is_dense = isinstance(layer, MLP | keras.layers.Dense)
    after_tower = isinstance(_layer_before(model, layer), MLP | keras.layers.Dense)
    return isinstance(layer, InteractingLayer) or (is_dense and after_tower)


def _layer_before(model: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer | None:
    return next((other for other in model.layers if other.output is layer.input), None)
