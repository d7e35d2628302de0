"""Growing trees with LightGBM, on packed inputs."""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from ctr_keras.features import FeatureSet, Numeric
from ctr_keras.trees.columns import column_names, column_values, id_ranges
from ctr_keras.trees.settings import BoostingSettings
from ctr_keras.trees.trees import Tree, Trees
from ctr_keras.types import Array, Config, Rows, WeightedRows

_ROWS_AT_ONCE = 2**16


class Grown(NamedTuple):
    """Trees, and what each of them brought.

    Attributes:
        trees: Trees, up to the one of least log loss on the validation rows.
        train_loss: list of float. Log loss of the training rows after each tree, further ones
            included.
        validation_loss: list of float. The same of the validation rows.
    """

    trees: Trees
    train_loss: list[float]
    validation_loss: list[float]


def grow(
    features: FeatureSet,
    train: Rows | WeightedRows,
    validation: Rows | WeightedRows,
    settings: BoostingSettings,
    seed: int = 0,
) -> Grown:
    """Grows gradient-boosted trees with LightGBM until the validation rows gain no more.

    Args:
        features: FeatureSet with known vocabulary sizes.
        train: packed inputs by name, labels `(rows, 1)` and, if rows do not count alike, their
            weights `(rows,)`.
        validation: the same, of other rows.
        settings: BoostingSettings.
        seed: int. Of the rows and columns that are drawn for a tree. Defaults to `0`.

    Raises:
        ModuleNotFoundError: without LightGBM, which `ctr-keras[trees]` brings.
        OSError: without OpenMP, which it needs.

    Example:

    >>> from ctr_keras.features import Label, Numeric
    >>> features = FeatureSet(Numeric("price"), label=Label("click"))
    >>> prices = np.linspace(-1, 1, 100, dtype="float32")[:, None]
    >>> rows = {"numeric": prices}, (prices > 0.5).astype("float32")
    >>> grown = grow(features, rows, rows, BoostingSettings(num_iterations=1), seed=0)
    >>> grown.trees.trees[0].columns[0], round(grown.trees.trees[0].thresholds[0], 1)
    (0, 0.5)
    """
    booster, losses = grow_booster(features, train, validation, settings, seed)
    return Grown(trees_of(booster, features), losses["train"], losses["validation"])


def grow_booster(
    features: FeatureSet,
    train: Rows | WeightedRows,
    validation: Rows | WeightedRows,
    settings: BoostingSettings,
    seed: int,
) -> tuple[Any, dict[str, list[float]]]:
    """LightGBM's booster, and the log loss after each of its trees."""
    lightgbm = _lightgbm()
    matrix, labels, weights = _arrays(features, train)
    rows = lightgbm.Dataset(
        matrix,
        labels,
        weight=weights,
        categorical_feature=_without_order(features, settings.max_categories),
        params={"verbosity": -1},
    )
    matrix, labels, weights = _arrays(features, validation)
    others = rows.create_valid(
        matrix, labels, weight=weights, init_score=np.full(len(labels), _shift(features))
    )
    losses: dict[str, dict[str, list[float]]] = {}
    booster = lightgbm.train(
        {
            "objective": "binary",
            "metric": "binary_logloss",
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,  # not the faster of two that are tried first
            "bagging_freq": 1,  # other rows for each tree
            "verbosity": -1,
            **settings.parameters(),
        },
        rows,
        valid_sets=[rows, others],
        valid_names=["train", "validation"],
        callbacks=[
            lightgbm.early_stopping(settings.patience, first_metric_only=True, verbose=False),
            lightgbm.record_evaluation(losses),
        ],
    )
    return booster, {split: of_split["binary_logloss"] for split, of_split in losses.items()}


def _without_order(features: FeatureSet, most: int) -> list[int]:
    """The columns of categories, if these are not too many. Buckets of a number have an order."""
    fields = (*features.categorical, *features.crossed)
    columns = enumerate(zip(fields, id_ranges(features), strict=True))
    return [n for n, (field, ids) in columns if not isinstance(field, Numeric) and len(ids) <= most]


def trees_of(booster: Any, features: FeatureSet) -> Trees:
    """The trees of a LightGBM booster on the columns of `ctr_keras.trees.columns`."""
    model = booster.dump_model(num_iteration=booster.best_iteration)
    first, *others = (_tree(info["tree_structure"]) for info in model["tree_info"])
    shifted = tuple(value + _shift(features) for value in first.leaf_values)
    return Trees(column_names(features), [dataclasses.replace(first, leaf_values=shifted), *others])


def _shift(features: FeatureSet) -> float:
    """What makes the logits of trees those of all rows, where negatives of the training rows are a
    sample (see `ctr_keras.runs.SampledLoss`)."""
    return math.log(features.label.negatives_kept)


def _lightgbm() -> Any:
    # Threads of OpenMP wait for each other by spinning, which takes many times as long as the work
    # wherever another process has one of the cores. Read when the library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import lightgbm
    except OSError as error:
        needed = "OpenMP, on Debian and Ubuntu `apt-get install libgomp1`"
        raise OSError(f"LightGBM cannot be loaded: {error}; it needs {needed}") from error
    return lightgbm


def _arrays(features: FeatureSet, rows: Rows | WeightedRows) -> tuple[Array, Array, Array | None]:
    """Columns, labels and weights, without rows of weight 0: LightGBM would draw them for a tree,
    and count them in `min_data_in_leaf`."""
    inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(rows)
    columns, labels = _matrix(features, inputs), np.ravel(labels)
    if weights is None:
        return columns, labels, None
    counts = weights != 0
    return columns[counts], labels[counts], weights[counts]


def _matrix(features: FeatureSet, inputs: Mapping[str, Array]) -> Array:
    """The columns of all rows, made by the code that makes them when the trees are served."""
    rows = len(next(iter(inputs.values())))
    pieces = []
    for start in range(0, rows, _ROWS_AT_ONCE):
        piece = {name: values[start : start + _ROWS_AT_ONCE] for name, values in inputs.items()}
        pieces.append(ops.convert_to_numpy(column_values(features, piece)))
    return np.concatenate(pieces)


def _tree(root: Config) -> Tree:
    """A tree from LightGBM's nested description, whose splits are numbered from the root on."""
    nodes = list(_walk(root))
    splits = sorted((n for n in nodes if "split_index" in n), key=lambda n: n["split_index"])
    leaves = sorted(
        (n for n in nodes if "split_index" not in n), key=lambda n: n.get("leaf_index", 0)
    )
    return Tree(
        columns=tuple(split["split_feature"] for split in splits),
        thresholds=tuple(0.0 if _is_categorical(s) else float(s["threshold"]) for s in splits),
        categories=tuple(_categories(split) for split in splits),
        missing_left=tuple(_sends_missing_left(split) for split in splits),
        left=tuple(_child(split["left_child"]) for split in splits),
        right=tuple(_child(split["right_child"]) for split in splits),
        leaf_values=tuple(float(leaf["leaf_value"]) for leaf in leaves),
    )


def _walk(node: Config) -> Iterator[Config]:
    yield node
    for side in ("left_child", "right_child"):
        if side in node:
            yield from _walk(node[side])


def _child(node: Config) -> int:
    return int(node["split_index"]) if "split_index" in node else -1 - int(node["leaf_index"])


def _is_categorical(split: Config) -> bool:
    return bool(split["decision_type"] == "==")


def _categories(split: Config) -> tuple[int, ...]:
    return tuple(map(int, split["threshold"].split("||"))) if _is_categorical(split) else ()


def _sends_missing_left(split: Config) -> bool:
    """Of LightGBM's categories only those in the set go left; a number that was never missing in
    training is 0 where it is missing later."""
    if _is_categorical(split):
        return False
    if split["missing_type"] == "None":
        return bool(split["threshold"] >= 0)
    return bool(split["default_left"])
