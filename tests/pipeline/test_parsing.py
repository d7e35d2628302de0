"""Formats: good rows to columns, bad ones to reasons."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.block import Block
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.parquet import Parquet
from pipeline.sources import Chunk


def blocks(table, path) -> list[Block]:
    chunks = table.chunks(Chunk(str(path), 0, None), path.stat().st_size)
    return [block for chunk in chunks for block in table.read(chunk)]


def test_csv_rows_and_the_reasons_of_bad_ones(tmp_path):
    path = tmp_path / "log.csv"
    rows = [b"a,b", b"1,2", b"x", b'"stray,3', b"\xff,3", b"", b'"a,b",c', b"5,6,7", b"8,9"]
    path.write_bytes(b"\n".join(rows) + b"\n")
    (block,) = blocks(Delimited(("a", "b")), path)
    assert block.line.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert block.raw.tolist() == rows[1:]
    assert block.reason.tolist() == [
        None,
        "expected 2 columns, got 1",
        "expected 2 columns, got 1",
        "invalid UTF-8",
        "empty line",
        None,
        "expected 2 columns, got 3",
        None,
    ]
    assert block.columns["a"].to_pylist() == ["1", None, None, None, None, "a,b", None, "8"]
    assert block.columns["b"].to_pylist() == ["2", None, None, None, None, "c", None, "9"]


def test_a_quote_that_swallows_lines_spoils_only_its_own(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'1,2\n3,"open\n5,6\n7,8\n')
    (block,) = blocks(Delimited(("a", "b"), header=False), path)
    assert block.columns["a"].to_pylist() == ["1", None, "5", "7"]
    assert block.reason.tolist() == [None, "a quote is not closed", None, None]


def test_tsv_takes_quotes_as_they_are(tmp_path):
    path = tmp_path / "log.tsv"
    path.write_bytes(b'"q\t3\n')
    (block,) = blocks(Delimited(("a", "b"), "\t", quoted=False, header=False), path)
    assert block.columns["a"].to_pylist() == ['"q']


def test_delimiter_of_two_characters(tmp_path):
    path = tmp_path / "log.dat"
    path.write_bytes(b"1::2\n3\n")
    (block,) = blocks(Delimited(("a", "b"), "::", quoted=False, header=False), path)
    assert block.columns["b"].to_pylist() == ["2", None]
    assert block.reason.tolist() == [None, "expected 2 columns, got 1"]


def test_wrong_header_names_file_and_column(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"a,c\n1,2\n")
    with pytest.raises(ValueError, match=r"log\.csv: the header is not as declared, without b"):
        blocks(Delimited(("a", "b")), path)


def test_parquet_numbers_become_text_and_lists_are_joined(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table(
        {
            "click": pa.array([True, False, True]),
            "id": pa.array([7, None, 9]),
            "price": pa.array([1.5, None, 2.0]),
            "tags": pa.array([["a", "b"], [], None]),
        }
    )
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    read = blocks(Parquet(("click", "id", "price", "tags"), (("tags", "|"),)), path)
    assert len(read) == 2
    columns = {k: [v for b in read for v in b.columns[k].to_pylist()] for k in read[0].columns}
    assert columns["click"] == ["1", "0", "1"]
    assert columns["id"] == ["7", "", "9"]
    assert [float(v or "nan") for v in columns["price"]][::2] == [1.5, 2.0]
    assert columns["tags"] == ["a|b", "", ""]
    assert read[0].raw[0] == b"1\t7\t1.5\ta|b"


def test_parquet_without_a_column_names_it(tmp_path):
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(ValueError, match=r"log\.parquet: there is no column b"):
        blocks(Parquet(("a", "b")), path)


def test_numbers():
    strings = ["1", "-2.5", "3e2", "", "nan", "NaN", "inf", "-Infinity"]
    for bad in ([], ["many", "1e99", " 4", "infinite"]):
        block = Block(0, [string.encode() for string in (*strings, *bad)])
        values = block.numbers("n", pa.array([*strings, *bad]), pa.float32()).to_pylist()
        assert values[:3] == [1.0, -2.5, 300.0]
        assert np.isnan(values[3:]).all()  # as servers take these
        assert block.is_good.tolist() == [True] * 8 + [False] * len(bad)
    wrong, too_large = "n is not a number", "n is not a finite number"
    assert block.reason[8:].tolist() == [wrong, too_large, wrong, wrong]
