"""Embedding tables with the values that their rows stand for, for other tools."""

import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ctr_keras.data import open_examples
from ctr_keras.features import FeatureSet, Numeric, Vocabulary
from ctr_keras.keras_internals import flat_layers
from ctr_keras.layers import FieldEmbedding
from ctr_keras.training.evaluation import check_same_features, data_of, load_run
from ctr_keras.types import Array

_BATCH_SIZE = 4096
_PARQUET = "embeddings.parquet"
_PROJECTOR = "projector_config.pbtxt"  # by which TensorBoard finds the tables
_HEADER = "value\tid\tfrequency"


class Table(NamedTuple):
    """The rows of one vocabulary in one embedding layer."""

    layer: str
    vocabulary: str
    ids: Array  # (rows,)
    values: Sequence[str]
    vectors: Array  # (rows, dim)


def export_embeddings(run: str, out: str, data: str | None = None) -> list[str]:
    """Writes the embeddings of a finished run for TensorBoard's projector and as Parquet.

    By vocabulary, and by layer where a model has several with that vocabulary, `NAME.vectors.tsv`
    and `NAME.metadata.tsv` (value, global id, frequency: how often the training split has the id),
    which `tensorboard --logdir OUT` and projector.tensorflow.org show; and `embeddings.parquet`,
    with a row for each row of each table: `layer`, `vocabulary`, `id`, `value`, `frequency` and
    `embedding`. What stands for no value is named in parentheses: `(out of vocabulary)`,
    `(bucket 3)`; buckets of numbers have their range. The weights of `LinearLogit`, which are one
    number wide, and the vectors of numbers, which have no vocabulary, are left out.

    The folder appears under its name only when it is whole.

    Args:
        run: str. The run's folder.
        out: str. The folder to write, which must not be there.
        data: str or None. The prepared data. Defaults to `None`: those the run was trained on.

    Returns:
        Paths of the files.

    Raises:
        FileNotFoundError: if the run or the data are not there.
        FileExistsError: if `out` exists.
        ValueError: if the data were prepared with other features or vocabularies, or the model
            has no embeddings.
    """
    if os.path.exists(out):
        raise FileExistsError(f"{out} exists; choose another folder")
    model, features, config = load_run(run)
    data = data_of(run, config.data, data)
    check_same_features(features, data)
    tables = embedding_tables(model, FeatureSet.load_fitted(data))
    if not tables:
        raise ValueError(f"{config.model} of {run} has no embeddings of a vocabulary")
    counts = _frequencies(data, features)
    partial = f"{os.path.normpath(out)}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    names = [*_write_tsv(partial, tables, counts), _PARQUET]
    _write_parquet(os.path.join(partial, _PARQUET), tables, counts)
    os.rename(partial, out)
    return [os.path.join(out, name) for name in names]


def embedding_tables(model: keras.Model, features: FeatureSet) -> list[Table]:
    """The tables of all `FieldEmbedding` layers wider than 1, by layer and vocabulary.

    Args:
        model: keras.Model.
        features: FeatureSet that it was built with, fitted or loaded by `load_fitted`.

    Example:

    >>> from ctr_keras.features import Categorical, Label
    >>> from ctr_keras.models import FM
    >>> features = FeatureSet(Categorical("site"), label=Label("click")).fit({"site": ["a", "b"]})
    >>> (table,) = embedding_tables(FM(features, dim=4), features)
    >>> table.vocabulary, table.values, table.ids.tolist(), table.vectors.shape
    ('site', ['(out of vocabulary)', 'a', 'b'], [1, 2, 3], (3, 4))
    """
    return [
        Table(
            layer.name,
            vocabulary.name,
            np.array(features.id_ranges[vocabulary.name]),
            _values(features, vocabulary),
            layer.vectors_of(vocabulary.name),
        )
        for layer in flat_layers(model)
        if isinstance(layer, FieldEmbedding) and layer.dim > 1
        for vocabulary in features.vocabularies
        if vocabulary.name in layer.vocabulary_rows
    ]


def _values(features: FeatureSet, vocabulary: Vocabulary) -> list[str]:
    """What the ids of a vocabulary stand for."""
    if vocabulary.number_buckets:
        return _buckets_of_numbers(features, vocabulary.name)
    if vocabulary.hash_buckets:
        return [f"(bucket {bucket})" for bucket in range(vocabulary.hash_buckets)]
    count = vocabulary.oov_buckets
    unknown = [f"(out of vocabulary{f' {i + 1}' if count > 1 else ''})" for i in range(count)]
    values = features.statistics.values[vocabulary.name]
    return [*unknown, *(value.replace("\x1f", " x ") for value in values)]


def _buckets_of_numbers(features: FeatureSet, name: str) -> list[str]:
    number = features[name]
    assert isinstance(number, Numeric)
    bounds = [f"{b:g}" for b in number.boundaries or features.statistics.numbers[name]]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(bounds)]
    return [f"below {bounds[0]}", *between, f"from {bounds[-1]}"]


def _frequencies(data: str, features: FeatureSet) -> Array:
    """(ids,) how often the training split has each id."""
    counts = np.zeros(features.id_count, np.int64)
    names = [*features.id_inputs]
    for inputs, _ in open_examples(data, "train", features, inputs=names).read(_BATCH_SIZE):
        for ids in inputs.values():
            counts += np.bincount(np.ravel(ids), minlength=features.id_count)
    return counts


def _write_tsv(folder: str, tables: Sequence[Table], counts: Array) -> Iterator[str]:
    """Writes vectors and metadata of each table, and what the projector reads; yields the names."""
    entries = []
    vocabularies = [table.vocabulary for table in tables]
    for table in tables:
        is_alone = vocabularies.count(table.vocabulary) == 1
        name = table.vocabulary if is_alone else f"{table.layer}.{table.vocabulary}"
        vectors, metadata = f"{name}.vectors.tsv", f"{name}.metadata.tsv"
        np.savetxt(os.path.join(folder, vectors), table.vectors, "%.7g", "\t")
        cells: list[Any] = [[" ".join(value.split()) for value in table.values], table.ids]
        lines = ("\t".join(map(str, row)) for row in zip(*cells, counts[table.ids], strict=True))
        with open(os.path.join(folder, metadata), "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in (_HEADER, *lines))
        paths = {"tensor_name": name, "tensor_path": vectors, "metadata_path": metadata}
        entries.append("".join(f"  {key}: {json.dumps(of)}\n" for key, of in paths.items()))
        yield from (vectors, metadata)
    with open(os.path.join(folder, _PROJECTOR), "w", encoding="utf-8") as file:
        file.writelines(f"embeddings {{\n{entry}}}\n" for entry in entries)
    yield _PROJECTOR


def _write_parquet(path: str, tables: Sequence[Table], counts: Array) -> None:
    schema = pa.schema(
        {
            "layer": pa.string(),
            "vocabulary": pa.string(),
            "id": pa.int64(),
            "value": pa.string(),
            "frequency": pa.int64(),
            "embedding": pa.list_(pa.float32()),
        }
    )
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for table in tables:
            rows = len(table.ids)
            columns = [
                [table.layer] * rows,
                [table.vocabulary] * rows,
                table.ids,
                table.values,
                counts[table.ids],
                list(table.vectors),
            ]
            arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema))
