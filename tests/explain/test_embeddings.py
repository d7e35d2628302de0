"""Embeddings for other tools: the right vector next to the right value."""

import pathlib

import keras
import numpy as np
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from keras import ops

from ctr_keras.cli import main
from ctr_keras.explain.embeddings import embedding_tables, export_embeddings
from ctr_keras.features import Categorical, Crossed, FeatureSet, Label, Numeric
from ctr_keras.layers import FieldEmbedding
from ctr_keras.models import DeepFM, OptInterM
from tests.data.shards import write_prepared
from tests.explain.runs import FEATURES, write_run

FRAME = {
    "site": ["b", "a", "b", "c d"],
    "device": ["x", "y", "x", "x"],
    "price": [1.0, 2.0, 30.0, 4.0],
    "age": [1.0, 2.0, 3.0, 4.0],
}


@pytest.fixture(scope="module")
def fitted():
    return FeatureSet(
        Categorical("site", oov_buckets=2),
        Categorical("device", hash_buckets=3),
        Numeric("price", scale="boundaries", boundaries=[1.5, 10]),
        Numeric("age"),
        Crossed("site", "device"),
        label=Label("click"),
    ).fit(FRAME)


def test_every_id_has_the_name_of_its_value(fitted):
    tables = embedding_tables(DeepFM(fitted, dim=3, hidden=[4], crossed=True), fitted)
    values = {table.vocabulary: table.values for table in tables}
    assert values["site"] == ["(out of vocabulary 1)", "(out of vocabulary 2)", "b", "a", "c d"]
    assert values["device"] == ["(bucket 0)", "(bucket 1)", "(bucket 2)"]
    assert values["price"] == ["below 1.5", "1.5 to 10", "from 10"]
    assert values["site_x_device"][:2] == ["(out of vocabulary)", "b x x"]
    for table in tables:
        assert len(table.ids) == len(table.values) == len(table.vectors)


@pytest.mark.parametrize("build", [DeepFM, OptInterM])
def test_a_value_has_the_vector_that_the_model_looks_up(fitted, build):
    model = build(fitted, dim=3, hidden=[4])
    packed = fitted.pack(FRAME)
    layers = {x.name: x for x in model.layers if isinstance(x, FieldEmbedding) and x.dim > 1}
    tables = embedding_tables(model, fitted)
    assert {table.layer for table in tables} == set(layers)
    for layer in layers.values():
        fields = [f for f in fitted.fields if layer.fields is None or f.name in layer.fields]
        inputs = {t.name: packed[t.name] for t in keras.tree.flatten(layer.input)}
        vectors = ops.convert_to_numpy(layer(inputs))
        of_layer = {table.vocabulary: table for table in tables if table.layer == layer.name}
        for name, value in (("site", "b"), ("site_x_device", "b x x")):
            if name in of_layer:
                expected = of_layer[name].vectors[of_layer[name].values.index(value)]
                column = [field.name for field in fields].index(name)
                np.testing.assert_allclose(vectors[0, column], expected)


@pytest.fixture
def run(tmp_path):
    data = write_prepared(tmp_path / "data", {"train": 300, "test": 50}, FEATURES)
    lines = ["a", "a=apple", "a=pear\tgreen", "b", "b=left", "b=right", "genres"]
    lines += [f"genres=g{i}" for i in range(4)]
    (tmp_path / "data" / "vocabulary").write_text(
        '{"a": 2, "b": 2, "genres": 4}\n' + "\n".join(lines) + "\n"
    )
    return write_run(tmp_path / "run", data, "FM", dim=4), data


def test_files_have_vectors_values_and_frequencies(run, tmp_path):
    out = tmp_path / "out"
    paths = [pathlib.Path(path) for path in export_embeddings(run[0], str(out))]
    assert {path.name for path in out.iterdir()} == {path.name for path in paths}
    assert not (tmp_path / "out.partial").exists()
    rows = pyarrow.parquet.read_table(out / "embeddings.parquet").to_pylist()
    assert [row["value"] for row in rows if row["vocabulary"] == "a"] == [
        *("(out of vocabulary)", "apple", "pear\tgreen")
    ]
    counts = {row["id"]: row["frequency"] for row in rows}
    # A row has one `b`, and the first value of `a` in its history in addition to its own.
    assert sum(counts[i] for i in FEATURES.id_ranges["b"]) == 300
    assert sum(counts[i] for i in FEATURES.id_ranges["a"]) == 600
    for name in ("a", "b", "genres"):
        header, *metadata = (out / f"{name}.metadata.tsv").read_text().splitlines()
        assert header == "value\tid\tfrequency"
        vectors = np.loadtxt(out / f"{name}.vectors.tsv")
        of = [row for row in rows if row["vocabulary"] == name]
        np.testing.assert_allclose(vectors, [row["embedding"] for row in of], rtol=1e-6)
        assert metadata == [
            f"{' '.join(row['value'].split())}\t{row['id']}\t{row['frequency']}" for row in of
        ]
    assert (out / "projector_config.pbtxt").read_text().count("metadata_path") == 3


def test_the_command_refuses_what_is_there_and_what_has_no_embeddings(run, tmp_path):
    command = ["embeddings", "--run", run[0], "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == str(tmp_path / "out" / "embeddings.parquet")
    again = CliRunner().invoke(main, command)
    assert "Error: " in again.output
    assert "out exists; choose another folder" in again.output
    one_wide = write_run(tmp_path / "one", run[1], "FM", dim=1)
    with pytest.raises(ValueError, match=r"FM of .*one has no embeddings"):
        export_embeddings(one_wide, str(tmp_path / "none"))
