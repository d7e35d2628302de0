"""Prepared data written directly, without the pipeline."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric, Sequence

FEATURES = FeatureSet(
    Categorical("a"),
    Categorical("b"),
    Numeric("row"),  # which row it is, so that tests can tell
    MultiValued("genres", max_length=3),
    Sequence("history", vocabulary_of="a", max_length=2),
    label=Label("click"),
    vocabulary_sizes={"a": 2, "b": 2, "genres": 4},
)


def write_prepared(
    folder: pathlib.Path, rows: dict[str, int], features: FeatureSet = FEATURES, shards: int = 3
) -> str:
    """Writes a prepared folder in which a click is `a` xor `b`, mostly.

    Args:
        folder: where.
        rows: number of rows by split.
        features: `FEATURES`, or the same with another declaration of `row` or `history`, or with
            a crossed `a` and `b`.
        shards: number of files a split.

    Returns:
        The folder.
    """
    (folder / "examples").mkdir(parents=True)
    features.save(folder / "features.json")
    (folder / "report.json").write_text(json.dumps({"rows": rows}))
    for seed, (split, count) in enumerate(rows.items()):
        for shard in range(shards):
            name = f"{split}-{shard:05d}-of-{shards:05d}.tfrecord.gz"
            with tf.io.TFRecordWriter(str(folder / "examples" / name), "GZIP") as writer:
                for row in range(shard, count, shards):
                    writer.write(_example(row, np.random.default_rng([seed, row])))
    return str(folder)


def _example(row: int, draw: np.random.Generator) -> bytes:
    a, b = draw.integers(0, 2, 2)
    click = (a ^ b) if draw.random() < 0.95 else 1 - (a ^ b)
    genres = draw.integers(7, 12, draw.integers(0, 4)).tolist()
    columns = {
        "categorical": [2 + a, 5 + b],
        "numeric": [row / 1000],
        "genres": genres + [0] * (3 - len(genres)),
        "history": [2, 0],
        "click": [float(click)],
        "crossed": [13 + 2 * a + b],  # for sets that cross `a` and `b`, whose ids start from 12
        "cost": [float(draw.integers(0, 4))],  # for sets whose label declares it as weight
    }
    return tf.train.Example(
        features=tf.train.Features(feature={k: _feature(v) for k, v in columns.items()})
    ).SerializeToString()


def _feature(values: list) -> tf.train.Feature:
    if any(isinstance(value, float) for value in values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
