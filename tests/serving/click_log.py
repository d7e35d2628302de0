"""A small log of clicks with every kind of feature, prepared, and a model on it."""

import csv
import pathlib

import keras
import numpy as np
import pytest
import yaml

from ctr_keras.data import read_rows
from ctr_keras.features import FeatureSet
from ctr_keras.models import FM
from tests.prepared import made_once, prepare_once

DATASET = {
    "source": {"format": "csv", "files": "clicks.csv"},
    "label": "click",
    "features": [
        {"kind": "categorical", "name": "user", "group": "user"},
        {"kind": "numeric", "name": "age", "scale": "min_max", "group": "user"},
        {"kind": "categorical", "name": "item", "group": "item"},
        {"kind": "numeric", "name": "price", "scale": "log_squared", "group": "item"},
        {"kind": "multi_valued", "name": "genres", "max_length": 3, "group": "item"},
        {"kind": "categorical", "name": "device", "hash_buckets": 5, "group": "context"},
        {"kind": "sequence", "name": "history", "vocabulary_of": "item", "max_length": 4},
        {"kind": "crossed", "first": "user", "second": "item"},
        {"kind": "crossed", "first": "user", "second": "device"},
    ],
    "split": {"by": "random", "validation": 0.1, "test": 0.2, "seed": 0},
}
ITEM_COLUMNS = ("item", "price", "genres")


def write_clicks(folder: pathlib.Path, rows: int = 2000) -> None:
    """Writes a log in which users and items decide about clicks, and its declaration."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    by_user, by_item = draw.normal(size=20), draw.normal(size=30)
    names = [feature["name"] for feature in DATASET["features"] if "name" in feature]
    with open(folder / "clicks.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "click"])
        for _ in range(rows):
            user, item = draw.integers(20), draw.integers(30)
            clicked = draw.random() < 1 / (1 + np.exp(-2 * (by_user[user] + by_item[item])))
            genres = "|".join(draw.choice(["drama", "comedy", "crime", "war"], draw.integers(4)))
            history = " ".join(f"i{i}" for i in draw.integers(30, size=draw.integers(6)))
            age = "" if draw.random() < 0.1 else draw.integers(18, 90)
            shown = ["", "phone", "tablet"][draw.integers(3)]
            row = [f"u{user}", age, f"i{item}", draw.integers(1, 99), genres, shown, history]
            writer.writerow([*row, int(clicked)])
    (folder / "clicks.yaml").write_text(yaml.safe_dump(DATASET))


def prepare_clicks(factory: pytest.TempPathFactory) -> pathlib.Path:
    """The log, prepared; for reading only."""
    folder = made_once("clicks", write_clicks, factory)
    return prepare_once(str(folder / "clicks.yaml"), folder, factory)


def trained_model(prepared: pathlib.Path) -> keras.Model:
    """A factorization machine that has learned some of it."""
    features = FeatureSet.load(prepared / "features.json")
    keras.utils.set_random_seed(0)
    model = FM(features, dim=4, crossed=True)
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy", jit_compile=False)
    inputs, labels = read_rows(str(prepared), "train", features, 2000)
    used = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    model.fit(used, labels, batch_size=100, epochs=3, verbose=0)
    return model


def scrambled(model: keras.Model, seed: int = 1) -> keras.Model:
    """The model with weights far from zero that know nothing: every id matters."""
    draw = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(draw.normal(scale=0.6, size=weight.shape))
    return model
