"""Files are found and read to their end; every line comes once, whatever the cut."""

import bz2
import gzip
import lzma
import zipfile

import pytest
import zstandard

from pipeline.parsing import lines as lines_room
from pipeline.parsing.lines import line_chunks, read_lines
from pipeline.sources import (
    Chunk,
    SourceError,
    SourceFile,
    find_files,
    member_path,
    name_below,
    open_source,
    partition_columns,
)

LINES = [b"first", b"", b"third with more text", b"4", b"\xff\xfe", b"last without end"]


STARTS = [0, 6, 7, 28, 30, 33]


def placed_lines(path: str, size: int) -> tuple[list[int], list[bytes]]:
    chunks = line_chunks(Chunk(path, 0, None), size)
    blocks = [block for chunk in chunks for block in read_lines(chunk)]
    return [at for starts, _ in blocks for at in starts], [x for _, lines in blocks for x in lines]


def lines_of(path: str, size: int) -> list[bytes]:
    return placed_lines(path, size)[1]


@pytest.mark.parametrize("chunk_bytes", range(1, 50))
def test_chunks_of_any_size_give_every_line_once_and_its_place(tmp_path, monkeypatch, chunk_bytes):
    path = tmp_path / "log.txt"
    path.write_bytes(b"\n".join(LINES))
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(lines_room, "_READ_BYTES", 7)
    assert placed_lines(str(path), path.stat().st_size) == (STARTS, LINES)


def test_chunks_of_a_file_are_about_equal(monkeypatch):
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 100)
    chunks = line_chunks(Chunk("log.txt", 0, None), 205)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 68), (68, 136), (136, None)]


# Compressed files.


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)  # as the command does


COMPRESSIONS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": _zstd}
TEXT = b"".join(b"%d,%d\n" % (i, i * 7919 % 1000) for i in range(20_000))


def read_all(path) -> bytes:
    pieces = []
    with open_source(str(path)) as file:
        while data := file.read(2**16):
            pieces.append(data)
    return b"".join(pieces)


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_compressed_file_is_one_chunk(tmp_path, monkeypatch, ending):
    path = tmp_path / f"log.txt{ending}"
    path.write_bytes(COMPRESSIONS[ending](b"\n".join(LINES)))
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 3)
    assert placed_lines(str(path), path.stat().st_size) == (STARTS, LINES)


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_compressed_files_may_be_put_together(tmp_path, ending):
    path = tmp_path / f"log.csv{ending}"
    path.write_bytes(COMPRESSIONS[ending](TEXT) + COMPRESSIONS[ending](b"more"))
    assert read_all(path) == TEXT + b"more"


@pytest.mark.parametrize("ending", COMPRESSIONS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:1],
        lambda data: data[: len(data) * 6 // 10],
        lambda data: data[:-1],
        lambda data: TEXT,
        lambda data: data + data[: len(data) // 2],
        lambda data: data + b"\xff" + data[1:],  # the second of two
        lambda data: data[: len(data) // 2] + b"\0" * 9 + data[len(data) // 2 + 9 :],
    ],
    ids=["empty", "one byte", "60%", "last byte", "plain", "cut second", "bad second", "damaged"],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, ending, spoil):
    path = tmp_path / f"log.csv{ending}"
    path.write_bytes(spoil(COMPRESSIONS[ending](TEXT)))
    with pytest.raises(SourceError, match="is cut off, damaged or not compressed: ") as error:
        read_all(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_damaged_archive_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", TEXT)
    whole = path.read_bytes()
    for data in (whole[:-9], whole[:2000] + b"\0" * 9 + whole[2009:], TEXT):
        path.write_bytes(data)
        with pytest.raises(
            SourceError, match=r"logs\.zip!log\.csv is cut off, damaged or not comp"
        ):
            read_all(f"{path}!log.csv")
    path.write_bytes(whole)
    assert find_files(f"{path}!log.csv") == [SourceFile(f"{path}!log.csv")]
    assert read_all(f"{path}!log.csv") == TEXT
    with pytest.raises(SourceError, match=r"!other\.csv is not there: the archive has no such"):
        read_all(f"{path}!other.csv")


def test_a_file_that_is_not_to_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"log\.csv is not there"):
        read_all(tmp_path / "log.csv")
    with pytest.raises(SourceError, match=r"cannot be read: Is a directory"):
        read_all(tmp_path)


def test_member_of_a_zip_archive(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("deep/inside/log.dat", b"\n".join(LINES))
    member = member_path(str(path), "log.dat")
    assert placed_lines(member, 0) == (STARTS, LINES)
    with pytest.raises(FileNotFoundError, match=r"no member other\.dat"):
        member_path(str(path), "other.dat")


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "log.txt"
    path.write_bytes(b"short\n" + b"x" * 5000 + b"\nafter")
    monkeypatch.setattr(lines_room, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(lines_room, "_READ_BYTES", 64)
    placed = [0, 6, 5007], [b"short", b"x" * 101, b"after"]
    assert placed_lines(str(path), 6000) == placed
    monkeypatch.setattr(lines_room, "CHUNK_BYTES", 1000)
    assert placed_lines(str(path), 6000) == placed


def test_a_file_has_a_name_that_does_not_tell_where_the_source_lies():
    assert name_below("logs", "logs/2024/a.csv") == "2024/a.csv"
    assert name_below("gs://bucket/logs/", "gs://bucket/logs/a.csv") == "a.csv"
    for folder in ("", "/somewhere/", "gs://bucket/"):
        assert name_below(f"{folder}*.csv", f"{folder}a.csv") == "../a.csv"
        assert name_below(f"{folder}a.csv", f"{folder}a.csv") == "."
        assert name_below(f"{folder}a.zip", f"{folder}a.zip!in/b.csv") == "../a.zip!in/b.csv"


def test_a_source_is_a_file_a_folder_or_a_pattern(tmp_path):
    for name in ("b.txt", "a.txt", "c.log", "sub/d.txt", "day=1/e.txt", "day=2/f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")

    def found(source: str, pattern: str = "") -> list[str]:
        files = find_files(f"{tmp_path}/{source}", pattern)
        assert {file.size for file in files} == {1}
        return [name_below(str(tmp_path), file.path) for file in files]

    everything = ["a.txt", "b.txt", "c.log", "day=1/e.txt", "day=2/f.txt", "sub/d.txt"]
    assert found("b.txt") == ["b.txt"]
    assert found("") == found("", "**") == everything
    assert found("sub") == found("sub/") == ["sub/d.txt"]
    assert found("*.txt") == found("", "*.txt") == ["a.txt", "b.txt"]
    assert found("", "**/*.txt") == [name for name in everything if name.endswith(".txt")]
    assert found("day=*") == found("", "day=*") == ["day=1/e.txt", "day=2/f.txt"]
    with pytest.raises(FileNotFoundError, match=r"no file matches .*nothing"):
        find_files(f"{tmp_path}/nothing")


def test_what_other_tools_leave_beside_the_data_is_passed_over(tmp_path):
    source = tmp_path / "_logs"  # written out, so that it is meant
    for name in ("a.csv", ".a.csv.crc", "_SUCCESS", "_temporary/0/b.csv", "day=1/_SUCCESS"):
        (source / name).parent.mkdir(exist_ok=True, parents=True)
        (source / name).write_text("x")
    assert [file.path for file in find_files(str(source))] == [f"{source}/a.csv"]
    assert [file.path for file in find_files(str(source), "_SUCCESS")] == [f"{source}/_SUCCESS"]
    with pytest.raises(
        FileNotFoundError, match=r"day=1' \(names that begin with _ or \. are passed"
    ):
        find_files(f"{source}/day=1")


def test_partitions_are_read_from_folders_alone():
    assert partition_columns("gs://b/day=2024-01-31/a=b=c/x=1.csv") == {
        "day": "2024-01-31",
        "a": "b=c",
    }
    assert partition_columns("logs/name%3D=%C3%A9/=2/x.csv") == {"name=": "é"}
    assert partition_columns("day=__HIVE_DEFAULT_PARTITION__/x.csv") == {"day": ""}
