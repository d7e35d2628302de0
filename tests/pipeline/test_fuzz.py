"""Files that are damaged in any way: each is refused in one line, or none of its rows is lost."""

import collections
import csv
import dataclasses
import io
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ctr_keras.data.records import read_examples
from ctr_keras.features import FeatureSet
from pipeline.batches import COUNTS, LINES, REJECTED, SPLIT, ParseChunk, SelectRows, column_values
from pipeline.block import Block
from pipeline.checks import check_source
from pipeline.datasets import find_dataset
from pipeline.parsing import lines as lines_room
from pipeline.prepare import prepare
from pipeline.report import summarize
from pipeline.sources import Chunk
from pipeline.splits import SPLITS
from tests.pipeline.fuzz import YAML, Case, Row, damaged, read_again

# Files that are damaged: `make fuzz` damages more, others each time.
FILES = int(os.environ.get("CTR_KERAS_FUZZ_FILES", 60))
FIRST = int(os.environ.get("CTR_KERAS_FUZZ_SEED", 0))


@dataclasses.dataclass
class Outcome:
    """What has come of a file."""

    written: list[tuple[bytes, Row]]
    rejected: list[tuple[int, str, bytes]]  # line, reason and row
    raw: list[bytes]
    report: dict[str, Any]


class Watched:
    """A table that keeps the blocks that are read."""

    def __init__(self, table):
        self._table = table
        self.blocks: list[Block] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def read(self, chunk: Chunk) -> Iterator[Block]:
        for block in self._table.read(chunk):
            self.blocks.append(block)
            yield block


def declared(case: Case, folder: pathlib.Path):
    (folder / "my.yaml").write_text(YAML.format(source=json.dumps(case.source)))
    return find_dataset(str(folder / "my.yaml"))


def outcome(case: Case, folder: pathlib.Path) -> Outcome:
    """Checks a file and reads it as the job does, without Beam."""
    dataset = declared(case, folder)
    source = str(folder / case.name)
    pathlib.Path(source.partition("!")[0]).write_bytes(case.data)
    (file,) = files = dataset.files(source)
    check_source(dataset, source, files)
    counts: collections.Counter[str] = collections.Counter()
    written, rejected, raw, lines = [], [], [], 0
    for chunk in dataset.table.chunks(Chunk(file.path, 0, file.split), file.size):
        watched = Watched(dataset.table)
        outputs = [*ParseChunk(dataclasses.replace(dataset, table=watched), source).process(chunk)]
        batches = [output for output in outputs if hasattr(output, "schema")]
        good = [r for block in watched.blocks for r in block.raw[block.is_good].tolist()]
        raw += [r for block in watched.blocks for r in block.raw.tolist()]
        written += zip(good, [row for batch in batches for row in rows_of(batch)], strict=True)
        for output in outputs:
            if getattr(output, "tag", None) == COUNTS:
                counts.update(dict([output.value]))
            if getattr(output, "tag", None) == REJECTED:
                rejected += [(lines + line, why, row) for line, why, row in output.value[1]]
        lines += next(o.value[1] for o in outputs if getattr(o, "tag", None) == LINES)
        for output in (o for batch in batches for o in SelectRows(dataset).process(batch)):
            if getattr(output, "tag", None) == COUNTS:
                counts.update(dict([output.value]))
            elif hasattr(output, "schema"):
                splits = column_values(output, SPLIT)
                counts.update(f"written: {SPLITS[i]}" for i in splits.tolist())
    counts.update({f"written: {split}": 0 for split in SPLITS})
    features = dataset.features.with_vocabulary_sizes({"user": 1, "tags": 1, "hour": 1})
    return Outcome(written, rejected, raw, summarize(counts, features))


def rows_of(batch) -> Iterator[Row]:
    columns = [
        column_values(batch, n).tolist() for n in ("row", "user", "price", "tags", SPLIT, "click")
    ]
    for row, user, price, tags, split, click in zip(*columns, strict=True):
        yield Row(
            -1 if np.isnan(row) else int(row),
            user,
            None if np.isnan(price) else price,
            tags,
            split,
            int(click),
        )


def judge(case: Case, folder: pathlib.Path) -> str:
    """How a case ended; an AssertionError if it must not end so."""
    try:
        came = outcome(case, folder)
    except (ValueError, OSError) as error:
        message = str(error)
        assert message.isprintable(), message
        assert len(message) < 1000, message
        assert case.name in message, message
        assert case.is_refused is not False or not any(case.rows.values()), message
        return f"refused: {shape(message.partition(case.name)[2])}"
    assert not case.is_refused, "passed"
    check_rows(case, came)
    if case.text is not None:
        check_text(case, came)
    return "all rows written" if not came.rejected else "rows rejected"


def shape(message: str) -> str:
    return re.sub(r"'[^']*'|\d+|: .*", "_", message)[:50]


def same(a: Row, b: Row) -> bool:
    prices = (a.price, b.price)
    return a._replace(price=None) == b._replace(price=None) and (
        prices == (None, None) or (None not in prices and np.isclose(*prices, rtol=1e-6))
    )


def check_rows(case: Case, came: Outcome) -> None:
    rows = came.report["rows"]
    assert rows["read"] == sum(rows[s] for s in SPLITS) + rows["filtered"] + rows["rejected"]
    assert rows["read"] == len(came.written) + len(came.rejected)
    written = collections.defaultdict(list)
    for _, row in came.written:
        written[row.row].append(row)
    for number, expected in case.rows.items():
        if expected is None:
            assert number not in written, (number, written[number])
        elif number not in written:
            in_rejected = any(str(number).encode() in raw for _, _, raw in came.rejected)
            assert case.may_join * in_rejected, (expected, came.rejected[:3])
        else:
            assert all(same(row, expected) for row in written[number]), (expected, written[number])
    for _, reason, _ in came.rejected:
        assert 0 < len(reason) < 500, reason
        assert "\n" not in reason, reason


def check_text(case: Case, came: Outcome) -> None:
    """No byte of a text is lost, and each row that was written says what is written."""

    def plain(text: bytes) -> bytes:
        return re.sub(rb"\r+(?=\n|$)", b"", text)

    text = plain(case.text.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n"))
    rows = plain(b"\n".join(came.raw))
    names: list[str] = []
    if case.source["format"] == "jsonl":
        assert rows == text
    else:
        assert text.endswith(rows)
        header = text[: len(text) - len(rows)]
        delimiter = case.source.get("delimiter", "\t" if case.source["format"] == "tsv" else ",")
        if header:
            first = header.removesuffix(b"\n").decode("utf-8", "replace")
            names = (
                first.split(delimiter)
                if case.source["format"] == "tsv"
                else next(csv.reader(io.StringIO(first, newline=""), delimiter=delimiter))
            )
    for raw, row in came.written:
        again = read_again(raw, case, names)
        assert again is not None and same(row, again), (raw[:300], row, again)  # noqa: PT018
    lines = case.text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for line, _, raw in came.rejected:
        assert plain(lines[line]) == plain(raw.split(b"\n")[0]), (line, raw[:200])


@pytest.mark.parametrize("seed", range(FIRST, FIRST + FILES))
def test_a_damaged_file_is_refused_in_one_line_or_no_row_is_lost(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", [100, 1000, 2**22][seed % 3])
    judge(damaged(seed), tmp_path)


def test_a_job_over_damaged_files_writes_what_reading_them_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 1000)
    logs, alone = tmp_path / "logs", tmp_path / "alone"
    logs.mkdir()
    alone.mkdir()
    rejected, written = [], collections.Counter[tuple[str, float, float]]()
    source = {"format": "csv", "missing": ["NA"]}
    for seed in range(FIRST, FIRST + 200):
        case = damaged(seed)
        if case.source != source or "!" in case.name or len(case.data) > 2**20:
            continue
        try:
            came = outcome(case, alone)
        except (ValueError, OSError):
            continue
        path = logs / f"{seed}-{case.name}"
        path.write_bytes(case.data)
        for line, reason, raw in came.rejected:
            row = raw.decode("utf-8", "backslashreplace")
            entry = {"file": str(path), "line": line + 1, "reason": reason, "row": row}
            rejected.append(entry)
        written.update((SPLITS[row.split], row.row, row.click) for _, row in came.written)
    assert len([*logs.iterdir()]) > 10
    report = prepare(str(alone / "my.yaml"), str(logs), str(tmp_path / "out"), max_rejected=1)
    rows = report["rows"]
    assert rows["rejected"] == len(rejected)
    assert {split: rows[split] for split in SPLITS} == {
        split: sum(n for (of, *_), n in written.items() if of == split) for split in SPLITS
    }
    assert (
        rows["read"] == sum(rows[split] for split in SPLITS) + rows["filtered"] + rows["rejected"]
    )
    found = [
        json.loads(line)
        for path in (tmp_path / "out" / "rejected").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert sorted(map(str, found)) == sorted(map(str, rejected))
    features = FeatureSet.load(str(tmp_path / "out" / "features.json"))
    found_rows = collections.Counter(
        (split, row, click)
        for split in SPLITS
        for inputs, clicks in read_examples(str(tmp_path / "out"), split, features, 100)
        for row, click in zip(inputs["numeric"][:, 0].numpy(), clicks[:, 0].numpy(), strict=True)
    )
    assert found_rows == written
