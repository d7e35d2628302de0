"""Scoring any number of rows, which are sent in batches."""

import json
import math

import pytest
from click.testing import CliRunner

from ctr_keras import cli
from serving.client import predict_rows
from tests.serving.clients import open_client


@pytest.fixture(params=["http", "grpc"])
def url(server, request):
    address = server.rest_address if request.param == "http" else server.grpc_address
    return f"{request.param}://{address}"


def scored(url, rows, signature="mixed", **options):
    return list(predict_rows(url, "toy", rows, signature_name=signature, **options))


def test_rows_in_batches(url):
    rows = ({"x": i} for i in range(10))
    got = list(predict_rows(url, "toy", rows, batch_size=3))
    assert got == [0.5 * i + 2 for i in range(10)]


def test_no_rows(url):
    assert list(predict_rows(url, "toy", [])) == []


def test_rows_are_taken_as_they_are_needed(url):
    taken = []

    def rows():
        for i in range(100):
            taken.append(i)
            yield {"x": i}

    predictions = predict_rows(url, "toy", rows(), batch_size=4)
    assert next(predictions) == 2.0
    assert len(taken) == 4


def test_missing_values(url):
    for row in ({}, {"s": None, "f": None}, {"s": math.nan, "f": math.nan}):
        (got,) = scored(url, [{"i": 1, **row}])
        assert got["s"] == ""
        assert math.isnan(got["f"])


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (1.5, "1.5"), ("é", "é"), (b"ab", "ab"), ("", "")]
)
def test_strings(url, value, text):
    assert scored(url, [{"s": value, "f": 2, "i": 3}]) == [{"s": text, "f": 2.0, "i": 3}]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"f": "1"}, "row 3, column f: expected a number, got '1'"),
        ({"f": True}, "row 3, column f: expected a number, got True"),
        ({"s": True}, "row 3, column s: expected a string, got True"),
        ({"i": None}, "row 3, column i: expected a whole number"),
        ({"z": 1}, "row 3: the model has no input for column z"),
    ],
)
def test_rows_that_do_not_fit(url, row, message):
    good = {"s": "", "f": 1.0, "i": 1}
    with pytest.raises(ValueError, match=message):
        scored(url, [good, good, {**good, **row}], batch_size=2)


def test_ignored_columns(url):
    row = {"s": "a", "f": 1.0, "i": 1, "label": 0}
    assert scored(url, [row], ignore=["label"]) == [{"s": "a", "f": 1.0, "i": 1}]


def test_nested_values(url):
    rows = [{"x": [1, None]}, {"x": (3.0, 4.0)}]
    first, second = scored(url, rows, "pairs")
    assert math.isnan(first)
    assert second == 7.0


def test_signatures_that_do_not_score_rows(url):
    with pytest.raises(ValueError, match="no signature nope"):
        scored(url, [{"x": 1}], "nope")
    with pytest.raises(ValueError, match="does not give one value a row: output y has shape"):
        scored(url, [{"x": 1}], "total")


def test_rows_through_the_async_client(url):
    with open_client(url, "async") as client:
        got = client.predict_rows("toy", ({"x": i} for i in range(10)), batch_size=3)
        assert got == [0.5 * i + 2 for i in range(10)]
        bad = [{"x": 1}] * 5 + [{"x": "1"}]
        with pytest.raises(ValueError, match="row 6, column x: expected a number"):
            client.predict_rows("toy", bad, batch_size=2, concurrency=2)


def test_the_command(url):
    rows = '{"s": "é", "f": 0.1, "i": 1}\n{"s": "b"}\n'

    def run(*options):
        command = ["predict", "--url", url, "--model", "toy", "--rows", "-", *options]
        return CliRunner().invoke(cli.main, command, input=rows.encode())

    result = run("--signature", "strings", "--ignore", "f", "--ignore", "i", "--timeout", "20")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"raw_bytes": {"b64": "w6k="}, "text": "é"},
        {"raw_bytes": {"b64": "Yg=="}, "text": "b"},
    ]
    result = run("--signature", "mixed")
    assert result.exit_code == 1
    assert "row 2, column i: expected a whole number" in result.stderr
