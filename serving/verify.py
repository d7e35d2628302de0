"""Skew: whether a running server gives the ids and scores of training time.

`ctr-keras prepare` keeps some rows both raw and transformed, and `ctr-keras export` keeps the Keras
model's scores of them with the version. Here a server is asked for both.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ctr_keras.data import Samples, read_samples
from ctr_keras.features import PACKED_INPUTS, FeatureSet
from serving.client import Client
from serving.export.blessing import TOLERANCE
from serving.export.columns import SCORE
from serving.export.export import SCORES_PATH, samples_digest
from serving.server.server import Server
from serving.types import Array, Arrays
from serving.versions import check_models_folder, find_models, find_versions


class Comparison(NamedTuple):
    """What one column, or the score, is at a server and was in training.

    Attributes:
        model: str. The model's name.
        version: int.
        url: str. The server.
        column: str. A feature, or `score`, of several labels a label.
        rows: int. How many rows were compared.
        different: int. In how many of them it differs.
        example: str. The first of these, or "".

    Example:

    >>> print(Comparison("ml", 1, "http://127.0.0.1:8501", "gender", 1000, 0, ""))
    ml 1 http://127.0.0.1:8501 gender: 1000 rows match
    """

    model: str
    version: int
    url: str
    column: str
    rows: int
    different: int
    example: str

    def __str__(self) -> str:
        where = f"{self.model} {self.version} {self.url} {self.column}"
        if not self.different:
            return f"{where}: {self.rows} rows match"
        return f"{where}: {self.different} of {self.rows} rows differ; {self.example}"


def verify(
    models: str, data: str, *, model: str | None = None, urls: Sequence[str] = ()
) -> Iterator[Comparison]:
    """Compares what servers give for prepared raw rows with what training gave.

    Ids must be the same and numbers equal; scores may differ by 1e-6.

    Args:
        models: str. The folder of models that is served; `ctr-keras export` wrote them.
        data: str. The prepared data that the models were trained on.
        model: str or None. The one model to verify. Defaults to `None`: all in the folder.
        urls: list of str. Servers, such as "http://127.0.0.1:8501" and "grpc://127.0.0.1:8500".
            Defaults to `()`: one is started, and asked over both protocols.

    Yields:
        A `Comparison` for each model's latest version, server and column.

    Raises:
        FileNotFoundError: if there is no such model or no such data.
        ValueError: if a model was exported with other data, or there are no rows to compare.
        ServingError: if a server answers with an error.

    Example:

    Prepared data is needed:

    >>> for comparison in verify("models", "data/ml"):  # doctest: +SKIP
    ...     print(comparison)
    ml 1 http://127.0.0.1:8501 gender: 1000 rows match
    """
    check_models_folder(models)
    features = FeatureSet.load(os.path.join(data, "features.json"))
    samples = read_samples(data, features)
    if not samples.rows:
        raise ValueError(f"{data} has no sample rows: its test split is empty")
    names = [model] if model else _models(models)
    paths = {name: _latest(os.path.join(models, name)) for name in names}
    expected = {name: _expected_scores(path, data) for name, path in paths.items()}
    trained = by_column(features, samples.inputs)
    with _servers(models, urls) as addresses:
        for name, path in paths.items():
            version = int(os.path.basename(path))
            for url in addresses:
                served = _ask(url, name, version, samples, features)
                for column, values in trained.items():
                    yield _compare((name, version, url), column, served[column], values)
                for column, values in expected[name].items():
                    yield _compare((name, version, url), column, served[column], values, TOLERANCE)


def by_column(features: FeatureSet, packed: Mapping[str, Array]) -> Arrays:
    """Packed inputs as one array a feature, `(rows,)`, or of lists `(rows, max_length)`, and one of
    the weights of their values.

    Example:

    >>> from ctr_keras.features import Label, Numeric
    >>> features = FeatureSet(Numeric("price"), Numeric("age"), label=Label("y"))
    >>> by_column(features, {"numeric": np.array([[1.5, 30.0]])})
    {'price': array([1.5]), 'age': array([30.])}
    """
    columns = {}
    for name, members in features.packed_features.items():
        if name not in PACKED_INPUTS:
            columns[name] = packed[name]
        else:
            columns |= {f.name: packed[name][:, i] for i, f in enumerate(members)}
    return columns


def _models(folder: str) -> list[str]:
    names = list(find_models(folder))
    if not names:
        raise FileNotFoundError(f"{folder} holds no model")
    return names


def _latest(folder: str) -> str:
    versions = find_versions(folder) if os.path.isdir(folder) else {}
    if not versions:
        raise FileNotFoundError(f"{folder} holds no version of a model")
    return str(versions[max(versions)])


def _expected_scores(version: str, data: str) -> Arrays:
    """By the name of a score."""
    path = os.path.join(version, SCORES_PATH)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not there: `ctr-keras export` writes it")
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    if content["samples"] != samples_digest(data):
        raise ValueError(f"{version} was exported with other prepared data than {data}")
    scores = content["scores"]
    by_name = scores if isinstance(scores, dict) else {SCORE: scores}
    return {name: np.array(values) for name, values in by_name.items()}


@contextlib.contextmanager
def _servers(models: str, urls: Sequence[str]) -> Iterator[Sequence[str]]:
    """Addresses of the servers given, or of one that runs meanwhile."""
    if urls:
        yield urls
        return
    with Server(models, rest_api_port=0, port=0) as server:
        yield f"http://{server.rest_address}", f"grpc://{server.grpc_address}"


def _ask(url: str, model: str, version: int, samples: Samples, features: FeatureSet) -> Arrays:
    with Client(url) as client:
        scores: Arrays = client.predict(model, samples.rows, version=version)
        packed = client.predict(
            model, samples.rows, version=version, signature_name="transform_features"
        )
    return by_column(features, packed) | scores


def _compare(
    where: tuple[str, int, str], column: str, served: Array, trained: Array, tolerance: float = 0.0
) -> Comparison:
    if tolerance:
        is_alike = np.abs(served - trained) <= tolerance
    else:
        is_alike = (served == trained).reshape(len(trained), -1).all(axis=1)
    different = np.flatnonzero(~is_alike)
    example = ""
    if len(different):
        row = int(different[0])
        example = f"row {row + 1} is {served[row].tolist()}, in training {trained[row].tolist()}"
    return Comparison(*where, column, len(trained), len(different), example)
