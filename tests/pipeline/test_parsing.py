"""Formats: good rows to columns, bad ones to reasons, wrong files to one line."""

import contextlib
import csv
import dataclasses
import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline.block import Block
from pipeline.parsing import lines as lines_room
from pipeline.parsing import records as records_room
from pipeline.parsing.delimited import Delimited
from pipeline.parsing.json_lines import JsonLines
from pipeline.parsing.parquet import Parquet
from pipeline.sources import Chunk, SourceError


@dataclasses.dataclass
class Rows:
    """What a table makes of a file: a list with an entry for each row."""

    line: list[int]  # from 0
    raw: list[bytes]
    reason: list[str | None]
    columns: dict[str, list[str]]
    blocks: int


def rows_of(table, path) -> Rows:
    rows, before = Rows([], [], [], {name: [] for name in table.columns}, 0), 0
    for chunk in table.chunks(Chunk(str(path), 0, None), path.stat().st_size):
        end = 0
        for block in table.read(chunk):
            rows.line += (before + block.line).tolist()
            rows.raw += block.raw.tolist()
            rows.reason += block.reason.tolist()
            for name in table.columns:
                rows.columns[name] += block.columns[name].to_pylist()
            end = block.next_line
            rows.blocks += 1
        before += end
    return rows


def written(path, data: bytes):
    path.write_bytes(data)
    return path


def refusal(table, path) -> str:
    """The line with which a file is refused before a job."""
    with pytest.raises(SourceError) as error:
        table.check(str(path))
    message = str(error.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


# Delimited text.


def test_csv_rows_and_the_reasons_of_bad_ones(tmp_path):
    data = [
        b"a,b",
        b"1,2",
        b"x",
        b'"stray,3',
        b"\xff,3",
        b"",
        b'"a,b",c',
        b"5,6,7",
        b"\r,8",
        b"8,9",
    ]
    rows = rows_of(Delimited(("a", "b")), written(tmp_path / "log.csv", b"\n".join(data) + b"\n"))
    assert rows.line == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert rows.raw == data[1:]
    assert rows.reason == [
        None,
        "expected 2 columns, got 1",
        "a quote is not closed",
        "invalid UTF-8",
        "empty line",
        None,
        "expected 2 columns, got 3",
        "a carriage return in a line",
        None,
    ]
    assert rows.columns["a"] == ["1", None, None, None, None, "a,b", None, None, "8"]
    assert rows.columns["b"] == ["2", None, None, None, None, "c", None, None, "9"]


def test_a_byte_order_mark_is_part_of_a_value_but_at_the_start_of_a_file(tmp_path):
    data = "\ufeffa,b\n\ufeff1,2\n\ufeff3,4\n".encode()
    rows = rows_of(Delimited(("a", "b")), written(tmp_path / "a.csv", data))
    assert rows.columns == {"a": ["\ufeff1", "\ufeff3"], "b": ["2", "4"]}


def test_a_line_break_in_quotes_is_part_of_the_value(tmp_path):
    data = b'site,price,click\n"first\nsecond",1.5,1\n"a ""b""\r\n\r\nc",2,"0\n"\r\nx,y\n'
    rows = rows_of(Delimited(("site", "price", "click")), written(tmp_path / "log.csv", data))
    assert rows.columns["site"] == ["first\nsecond", 'a "b"\r\n\r\nc', None]
    assert rows.columns["click"] == ["1", "0\n", None]
    assert rows.line == [1, 3, 7]
    assert rows.raw == [b'"first\nsecond",1.5,1', b'"a ""b""\r\n\r\nc",2,"0\n"', b"x,y"]
    assert rows.reason == [None, None, "expected 3 columns, got 2"]


@pytest.mark.parametrize(
    ("data", "first"),
    [
        (b'1,2\n3,"open\n5,6\n7,8\n', ["1", None, "5", "7"]),
        (b'1,2\n3,"open\n5,6\n"7",8\n', ["1", None, "5", "7"]),  # by what closes none
        (b'1,2\n3,"open\n"4,\n5",6\n"7",8\n', ["1", None, "4,\n5", "7"]),
        (b'1,2\n3,"open\n5,6" pipe\n"7",8\n', ["1", None, "5", "7"]),
        (b'1,2\n3,4" pipe\n5,6" pipe\n7,8\n', ["1", "3", "5", "7"]),  # no quotes around values
        (b'1,2\n3,""open\n5,6\n', ["1", "3", "5"]),
        (b'1,2\n"3,4\n"5",6\n', ["1", None, "5"]),
        (b'1,2\n3,"', ["1", None]),
    ],
)
def test_a_stray_quote_costs_its_own_line_at_most(tmp_path, data, first):
    rows = rows_of(Delimited(("a", "b"), header=False), written(tmp_path / "log.csv", data))
    assert rows.columns["a"] == first
    assert {reason for reason in rows.reason if reason} <= {"a quote is not closed"}
    assert [reason is None for reason in rows.reason] == [value is not None for value in first]


def test_quotes_that_are_too_far_apart_do_not_belong_together(tmp_path, monkeypatch):
    monkeypatch.setattr(records_room, "MAX_LINE_BYTES", 100)
    data = b'1,"open\n' + b"2,3\n" * 30 + b'close"\n4,"two\nlines"\n'
    rows = rows_of(Delimited(("a", "b"), header=False), written(tmp_path / "log.csv", data))
    assert rows.reason[0] == "a quote is not closed"
    assert rows.reason[31] == "expected 2 columns, got 1"
    assert rows.columns["b"][1:31] + rows.columns["b"][32:] == ["3"] * 30 + ["two\nlines"]


def random_value(rng: np.random.Generator, characters: str) -> str:
    return "".join(rng.choice(list(characters), rng.integers(0, 7)))


@pytest.mark.parametrize("seed", range(40))
def test_csv_reads_as_pythons_reader_does_whatever_the_chunks(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    columns, delimiter = int(rng.integers(1, 5)), str(rng.choice([",", ";", "\t", "|", "^"]))
    ends, quoting = (
        str(rng.choice(["\n", "\r\n"])),
        int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    names = tuple("abcd"[:columns])
    characters = '"",\n;éab x' + ends[:-1]  # Python puts no quotes around another's line end
    writer.writerow(names)
    writer.writerows(
        [random_value(rng, characters) for _ in names] for _ in range(rng.integers(0, 60))
    )
    lines = re.findall(r"[^\n]*\n", text.getvalue())
    reader = csv.reader(lines, delimiter=delimiter)
    expected, starts = [], [0]
    for row in reader:
        expected.append(row)
        starts.append(reader.line_num)
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", int(rng.integers(24, 200)))
    monkeypatch.setattr(lines_room, "_READ_BYTES", int(rng.integers(1, 100)))
    table = Delimited(names, delimiter)
    rows = rows_of(table, written(tmp_path / "log.csv", text.getvalue().encode()))
    assert [*zip(*rows.columns.values(), strict=True)] == [tuple(row) for row in expected[1:]]
    assert rows.line == starts[1:-1]
    assert set(rows.reason) <= {None}


@pytest.mark.parametrize("seed", range(40))
def test_no_line_is_lost_of_a_file_that_is_no_csv(tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    data = "".join(rng.choice(list('""",,\n\n\rab'), 400)).encode()
    path = written(tmp_path / "log.csv", data)
    table = Delimited(("a", "b"), header=False)
    whole = rows_of(table, path)
    assert b"\n".join(whole.raw).replace(b"\r", b"") == data.removesuffix(b"\n").replace(b"\r", b"")
    assert [n - 1 for n in whole.line[1:]] == (
        np.cumsum([raw.count(b"\n") + 1 for raw in whole.raw])[:-1] - 1
    ).tolist()
    for reason, raw in zip(whole.reason, whole.raw, strict=True):
        if b"\n" in raw and reason is None:
            assert len(next(csv.reader(io.StringIO(raw.decode(), newline="")))) == 2
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", int(rng.integers(24, 200)))
    in_chunks = rows_of(table, path)
    assert dataclasses.replace(in_chunks, blocks=0) == dataclasses.replace(whole, blocks=0)


def test_tsv_takes_quotes_as_they_are(tmp_path):
    path = written(tmp_path / "log.tsv", b'"q\t3\n')
    rows = rows_of(Delimited(("a", "b"), "\t", quoted=False, header=False), path)
    assert rows.columns["a"] == ['"q']


@pytest.mark.parametrize("delimiter", ["::", "¦"])
def test_delimiter_of_two_bytes(tmp_path, delimiter):
    path = written(tmp_path / "log.dat", f"1{delimiter}2\n3\n4{delimiter}\x1f\n".encode())
    rows = rows_of(Delimited(("a", "b"), delimiter, quoted=False, header=False), path)
    assert rows.columns["b"] == ["2", None, None]
    assert rows.reason == [None, "expected 2 columns, got 1", "a unit separator in a line"]


def test_each_file_has_its_own_order_of_columns(tmp_path):
    table = Delimited(("a", "b"))
    first = written(tmp_path / "1.csv", b"a,b\n1,2\n")
    second = written(tmp_path / "2.csv", b'\xef\xbb\xbf"b","more, and\nmore",a\n2,x,1\n')
    for path in (first, second):
        table.check(str(path))
        assert rows_of(table, path).columns == {"a": ["1"], "b": ["2"]}
    assert rows_of(table, second).line == [2]


def test_columns_are_renamed_by_place(tmp_path):
    path = written(tmp_path / "log.csv", b"x,x,Klick?\n1,2,3\n")
    table = Delimited(("click", "a"), names=("a", "b", "click"))
    table.check(str(path))
    assert rows_of(table, path).columns == {"click": ["3"], "a": ["1"]}


def test_a_header_of_any_length(tmp_path):
    names = [f"column_{i}" for i in range(10_000)]
    path = written(
        tmp_path / "log.csv", ",".join([*names, "click\n"]).encode() + b"1" + b",1" * 10_000
    )
    table = Delimited(("click",))
    table.check(str(path))
    assert rows_of(table, path).columns == {"click": ["1"]}


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({}, b"a,c\n1,2\n", " has no column 'b'; available: a, c"),
        ({}, b"a,bb\n1,2\n", " has no column 'b'; did you mean 'bb'?"),
        ({}, b"1,0.5\n1,2\n", " has no column 'a'; available: 1, 0.5"),
        ({}, b"a,b,a\n1,2,3\n", " has 2 columns named 'a': rename all but one"),
        ({"names": ("a", "b")}, b"x,y,z\n", " has 3 columns, and 2 are declared: x, y, z"),
        ({"header": False}, b"1,2,3\n4\n", " begins with no row with the 2 columns that are decl"),
        (
            {"header": False},
            b"a,b\n1,2\n",
            " begins with the names of its columns: omit `header: f",
        ),
        ({}, "a,b\n".encode("utf-16"), " is UTF-16: declare `encoding: utf-16`"),
        ({}, "a,b\n1,2\n".encode("utf-16-le"), " is UTF-16: declare `encoding: utf-16-le`"),
        ({}, "a,b\n1,2\n".encode("utf-16-be"), " is UTF-16: declare `encoding: utf-16-be`"),
        ({}, b"\x1f\x8b\x08", " is compressed: its name must end in .gz"),
        ({}, b"x" * 1000, f" has no column 'a'; available: {'x' * 187}..."),
        ({}, b"a;b\n1;2\n", ' has a single column: declare `delimiter: ";"`'),
        ({"header": False}, b"1\t2\n", r' has a single column: declare `delimiter: "\t"`'),
        ({}, b"a,b\r1,2\r", " has carriage returns without line feeds: convert its line ends"),
        ({"quoted": False}, b"a,b\r1,2\n", " has carriage returns without line feeds"),
        ({}, b"\n1,2\n", " has no column 'a'; available: "),
        ({}, b'"x\ny",\x1b[31mz\n', r" has no column 'a'; available: x\ny, \x1b[31mz"),
        ({}, b"PAR1", " is a Parquet file: declare `format: parquet`"),
        ({}, b"PK\x03\x04", " is a zip archive: unpack it, or name a member as archive.zip!member"),
    ],
)
def test_wrong_files_are_refused_before_the_job(tmp_path, settings, data, message):
    path = written(tmp_path / "log.csv", data)
    assert refusal(Delimited(("a", "b"), **settings), path).startswith(message)


def test_a_file_without_a_header_may_begin_with_a_bad_row(tmp_path):
    for data in (b"cut\n1,2\n", b'cut\n1,"open\n1,2\n'):
        Delimited(("a", "b"), header=False).check(str(written(tmp_path / "log.csv", data)))


def test_a_file_without_rows_is_none_at_all(tmp_path):
    for data in (b"", b"a,b\n", b"a,b"):
        path = written(tmp_path / "log.csv", data)
        Delimited(("a", "b")).check(str(path))
        assert rows_of(Delimited(("a", "b")), path).line == []


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "gb18030"]
)
def test_encodings(tmp_path, encoding):
    text = "clé,größe\n" + '"a,\nä",ö\n' * 3
    path = written(tmp_path / "log.csv", text.encode(encoding))
    table = Delimited(("clé", "größe"), encoding=encoding)
    table.check(str(path))
    rows = rows_of(table, path)
    assert rows.columns == {"clé": ["a,\nä"] * 3, "größe": ["ö"] * 3}
    assert rows.line == [1, 3, 5]


@pytest.mark.parametrize(
    ("encoding", "bad", "name"),
    [
        ("cp1252", b"\x81", "cp1252"),
        ("utf-16-le", b"\x00\xd8", "utf-16-le"),
        ("gb18030", b"\xff", "gb18030"),
        ("utf-8", b"\xc3", "UTF-8"),
        ("utf-8-sig", b"\xc3", "UTF-8"),
    ],
)
def test_what_cannot_be_decoded_costs_its_row(tmp_path, encoding, bad, name):
    first, second = "a\nb", "\nc\n"
    path = written(tmp_path / "log.csv", first.encode(encoding) + bad + second.encode(encoding))
    rows = rows_of(Delimited(("a",), encoding=encoding), path)
    assert rows.reason == [f"invalid {name}", None]
    assert rows.columns["a"] == [None, "c"]


def test_a_file_that_ends_within_a_character_loses_no_row(tmp_path):
    path = written(tmp_path / "log.csv", "a\nb\nc".encode("utf-16-le")[:-1])
    rows = rows_of(Delimited(("a",), encoding="utf-16-le"), path)
    assert rows.reason == [None, "invalid utf-16-le"]


def test_decimal_commas(tmp_path):
    path = written(tmp_path / "log.csv", b"price\n1,5\n-2\n1.5\n1.234,5\n,5\n")
    table = Delimited(("price",), delimiter=";", decimal=",")
    ((block,),) = [[*table.read(chunk)] for chunk in table.chunks(Chunk(str(path), 0, None), 10)]
    values = block.numbers("price", block.columns["price"], pa.float32()).to_pylist()
    assert [values[i] for i in (0, 1, 4)] == [1.5, -2, 0.5]
    assert block.reason.tolist() == [None, None, *["price is not a number"] * 2, None]


# JSON lines.


def test_json_lines_and_the_reasons_of_bad_ones(tmp_path):
    good = [
        {"a": "x", "n": 1, "tags": ["p", None, 2, True]},
        {"n": 1.50, "a": None, "more": {"any": "thing"}},
        {"a": True, "n": 2**80, "tags": "p|q"},
        {"a": "é\n", "tags": []},
    ]
    bad = {
        "{": "no JSON: Expecting property name enclosed in double quotes",
        '{"a": 1} x': "no JSON: Extra data",
        "[1]": "no JSON object",
        "": "empty line",
        '{"a": 1, "a": 2}': "a key is there twice",
        '{"a": {"b": 1}}': "a is an object: flatten it",
        '{"a": [1]}': "a is a list: declare it multi_valued or a sequence",
        '{"tags": [["x"]]}': "tags is a list of lists: flatten it",
        '{"tags": ["x|y"]}': "an item of tags holds the separator '|'",
        '{"a": "\\ud800"}': "a is half a character",
        "[" * 5000: "no JSON: nested too deeply",
    }
    lines = [*map(json.dumps, good), *bad]
    path = written(tmp_path / "log.jsonl", "\r\n".join(lines).encode())
    table = JsonLines(("a", "n", "tags"), (("tags", "|"),))
    table.check(str(path))
    rows = rows_of(table, path)
    assert rows.reason == [None] * 4 + [*bad.values()]
    assert rows.columns["a"][:4] == ["x", "", "1", "é\n"]
    assert rows.columns["n"][:4] == ["1", "1.5", str(2**80), ""]
    assert rows.columns["tags"][:4] == ["p|2|1", "", "p|q", ""]
    assert rows.line == [*range(len(lines))]


def test_objects_of_json_are_values_with_weights(tmp_path):
    values = ['{"a": 0.50, "b:c": null, "d": "1e-3"}', "{}", "null", '["a:2"]']
    bad = {
        '{"a": {"b": 1}}': "tags is an object: flatten it",
        '{"a|b": 1}': "an item of tags holds the separator '|'",
        '{"\\ud800": 1}': "tags is half a character",
    }
    lines = [f'{{"tags": {value}}}' for value in (*values, *bad)]
    path = written(tmp_path / "log.jsonl", "\n".join(lines).encode())
    table = JsonLines(("tags",), (("tags", "|"),), weight_separators=(("tags", ":"),))
    rows = rows_of(table, path)
    assert rows.columns["tags"][:4] == ["a:0.50|b:c:|d:1e-3", "", "", "a:2"]
    assert rows.reason == [None] * 4 + [*bad.values()]
    rows = rows_of(JsonLines(("tags",), (("tags", "|"),)), path)
    assert rows.reason[0] == "tags has values with weights: declare its weight_separator"


def test_json_lines_are_cut_and_recoded_like_other_text(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 30)
    lines = [json.dumps({"a": f"ä{i}"}, ensure_ascii=False) for i in range(20)]
    for encoding in ("utf-8-sig", "utf-16"):
        path = written(tmp_path / "log.jsonl", "\n".join(lines).encode(encoding))
        rows = rows_of(JsonLines(("a",), encoding=encoding), path)
        assert rows.columns["a"] == [f"ä{i}" for i in range(20)]
        assert rows.line == [*range(20)]


def test_zero_bytes_at_the_beginning_cost_their_line(tmp_path):
    path = written(tmp_path / "log.jsonl", bytes(20) + b'\n{"a": 1}\n')
    JsonLines(("a",)).check(str(path))
    assert rows_of(JsonLines(("a",)), path).columns["a"] == [None, "1"]


def test_json_without_a_column_names_it(tmp_path):
    path = written(tmp_path / "log.jsonl", b'{"site": 1}\n{"click": 1}\nnonsense\n')
    JsonLines(("click", "site")).check(str(path))
    assert refusal(JsonLines(("sites",)), path) == " has no column 'sites'; did you mean 'site'?"


# Parquet.


def test_parquet_numbers_become_text_and_lists_are_joined(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table(
        {
            "click": pa.array([True, False, True]),
            "id": pa.array([7, None, 9]),
            "price": pa.array([1.5, None, 2.0]),
            "tags": pa.array([["a", "b"], [], None]),
            "site": pa.array([b"x", b"\xff", None]),
            "kind": pa.array(["s", None, "t"]).dictionary_encode(),
        }
    )
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    columns = Parquet(("click", "id", "price", "tags", "site", "kind"), (("tags", "|"),))
    columns.check(str(path))
    rows = rows_of(columns, path)
    assert rows.blocks == 2
    assert rows.columns["click"] == ["1", "0", "1"]
    assert rows.columns["id"] == ["7", "", "9"]
    assert [float(v or "nan") for v in rows.columns["price"]][::2] == [1.5, 2.0]
    assert rows.columns["tags"] == ["a|b", "", ""]
    assert rows.columns["site"] == ["x", "", ""]
    assert rows.columns["kind"] == ["s", "", "t"]
    assert rows.reason == [None, "site is not UTF-8", None]
    assert rows.raw[0] == b"1\t7\t1.5\ta|b\tx\ts"


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_parquet_lists_lose_their_nulls_alone(tmp_path, kind):
    path = tmp_path / "log.parquet"
    values = [["a", None, "b"], ["c", "d|e", None], None, [None, None, None], ["", "f", "g"]]
    lists = pa.array(values, kind(pa.string()))
    pyarrow.parquet.write_table(pa.table({"tags": lists}), path)
    rows = rows_of(Parquet(("tags",), (("tags", "|"),)), path)
    assert [rows.columns["tags"][i] for i in (0, 2, 3, 4)] == ["a|b", "", "", "|f|g"]
    torn = "an item of tags holds the separator '|'"
    assert rows.reason == [None, torn, None, None, None]


def test_maps_of_parquet_are_values_with_weights(tmp_path):
    path = tmp_path / "log.parquet"
    pairs = [[("a", 0.5), ("b:c", None)], [], None, [("d|e", 1.0)], [("f", 1e-7), ("g", 3.0)]]
    maps = pa.array(pairs, pa.map_(pa.string(), pa.float32()))
    pyarrow.parquet.write_table(pa.table({"tags": maps}), path, row_group_size=3)
    table = Parquet(("tags",), (("tags", "|"),), (("tags", ":"),))
    table.check(str(path))
    rows = rows_of(table, path)
    values = [rows.columns["tags"][i] for i in (0, 1, 2, 4)]
    assert values == ["a:0.5|b:c:", "", "", "f:1e-7|g:3"]
    torn = "an item of tags holds the separator '|'"
    assert rows.reason == [None, None, None, torn, None]


def test_parquet_is_read_by_row_groups_or_whole(tmp_path):
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table({"a": range(10)}), path, row_group_size=3)
    table = Parquet(("a",))
    chunks = table.chunks(Chunk(str(path), 0, None), 0)
    parts = [next(table.read(chunk)) for chunk in chunks]
    assert [p for part in parts for p in part.position.tolist()] == [*range(10)]
    assert len(parts) == 4
    whole = [v for block in table.read(Chunk(str(path), 0, None)) for v in block.columns["a"]]
    assert [value.as_py() for value in whole] == [str(i) for i in range(10)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pa.array([{"x": 1}]),
            ": a is struct<x: int64>: write it as text, as numbers or as a list",
        ),
        (
            pa.array([[("x", 1)]], pa.map_(pa.string(), pa.int64())),
            ": a has values with weights: declare its weight_separator",
        ),
        (pa.array([[[1]]]), ": a is list<element: list<element: int64>>: write it"),
        (pa.array([["x"]]), ": b is a list: declare it multi_valued or a sequence"),
    ],
)
def test_parquet_of_other_types_is_refused_before_the_job(tmp_path, column, message):
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table({"a": column, "b": column}), path)
    lists = (("a", " "),) if "is a list" not in message else ()
    name = "b" if "is a list" in message else "a"
    assert refusal(Parquet((name,), lists), path).startswith(message)


def test_parquet_that_is_none_or_without_a_column_is_refused_before_the_job(tmp_path):
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table([[1], [2], [3]], ["a", "b", "b"]), path)
    assert refusal(Parquet(("a", "c")), path) == " has no column 'c'; available: a, b"
    assert refusal(Parquet(("b",)), path) == " has 2 columns named 'b': rename all but one"
    whole = path.read_bytes()
    for data in (b"", b"a,b\n1,2\n", whole[: len(whole) // 2]):
        assert " cannot be read as Parquet: " in refusal(Parquet(("a",)), written(path, data))


def test_a_damaged_page_of_parquet_is_an_error_where_its_checksum_is_there(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table({"a": [f"value {i}" for i in range(100)]})
    pyarrow.parquet.write_table(
        table, path, compression="none", use_dictionary=False, write_page_checksum=True
    )
    whole = path.read_bytes()
    written(path, whole.replace(b"value 57", b"value 58", 1))
    Parquet(("a",)).check(str(path))
    with pytest.raises(SourceError, match=r"log\.parquet cannot be read: .*CRC checksum"):
        rows_of(Parquet(("a",)), path)


def test_what_is_wrong_with_parquet_is_one_line(tmp_path):
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table({"a": [1]}), path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        written(path, whole[:at] + b"\x8f" + whole[at + 1 :])
        with contextlib.suppress(SourceError):
            Parquet(("a",)).check(str(path))
            continue
        assert refusal(Parquet(("a",)), path).isprintable()


# Partitions and numbers.


def test_folders_are_columns_of_all_formats(tmp_path):
    folder = tmp_path / "day=2024-01-31" / "land=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    columns = ("a", "day", "land")
    csv_file, json_file = folder / "log.csv", folder / "log.jsonl"
    csv_file.write_bytes(b"a\n1\n2\n")
    json_file.write_bytes(b'{"a": 1}\n{"a": 2, "day": null}\n')
    pyarrow.parquet.write_table(pa.table({"a": [1, 2]}), folder / "log.parquet")
    for table, path in (
        (Delimited(columns), csv_file),
        (JsonLines(columns), json_file),
        (Parquet(columns), folder / "log.parquet"),
    ):
        table.check(str(path))
        day = ["2024-01-31", "" if table == JsonLines(columns) else "2024-01-31"]
        assert rows_of(table, path).columns == {"a": ["1", "2"], "day": day, "land": ["", ""]}
        message = refusal(type(table)(("month",)), path)
        assert message == " has no column 'month'; available: a, day, land"


def test_numbers():
    strings = ["1", "-2.5", "3e2", "", "nan", "NaN", "inf", "-Infinity"]
    for bad in ([], ["many", "1e99", " 4", "infinite"]):
        block = Block(0, [string.encode() for string in (*strings, *bad)])
        values = block.numbers("n", pa.array([*strings, *bad]), pa.float32()).to_pylist()
        assert values[:3] == [1.0, -2.5, 300.0]
        assert np.isnan(values[3:]).all()  # as servers take these
        assert block.is_good.tolist() == [True] * 8 + [False] * len(bad)
    wrong, too_large = "n is not a number", "n is beyond 3.4e+38, the largest float32"
    assert block.reason[8:].tolist() == [wrong, too_large, wrong, wrong]
