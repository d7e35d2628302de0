"""Chunks and lines: every line comes once, whatever the cut."""

import gzip
import zipfile

import pytest

from pipeline import sources
from pipeline.sources import Chunk, find_files, line_chunks, member_path, name_below, read_lines

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
    monkeypatch.setattr(sources, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(sources, "_READ_BYTES", 7)
    assert placed_lines(str(path), path.stat().st_size) == (STARTS, LINES)


def test_chunks_of_a_file_are_about_equal(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", 100)
    chunks = line_chunks(Chunk("log.txt", 0, None), 205)
    assert [(chunk.start, chunk.stop) for chunk in chunks] == [(0, 68), (68, 136), (136, None)]


def test_line_ends_of_windows_are_no_part_of_a_line(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"a\r\nb\r\n")
    assert placed_lines(str(path), 6) == ([0, 3], [b"a", b"b"])


def test_gzip_is_one_chunk(tmp_path, monkeypatch):
    path = tmp_path / "log.txt.gz"
    path.write_bytes(gzip.compress(b"\n".join(LINES)))
    monkeypatch.setattr(sources, "CHUNK_BYTES", 3)
    assert placed_lines(str(path), path.stat().st_size) == (STARTS, LINES)


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
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(sources, "_READ_BYTES", 64)
    placed = [0, 6, 5007], [b"short", b"x" * 101, b"after"]
    assert placed_lines(str(path), 6000) == placed
    monkeypatch.setattr(sources, "CHUNK_BYTES", 1000)
    assert placed_lines(str(path), 6000) == placed


def test_a_file_has_a_name_that_does_not_tell_where_the_source_lies():
    assert name_below("logs", "logs/2024/a.csv") == "2024/a.csv"
    assert name_below("gs://bucket/logs/", "gs://bucket/logs/a.csv") == "a.csv"
    for folder in ("", "/somewhere/", "gs://bucket/"):
        assert name_below(f"{folder}*.csv", f"{folder}a.csv") == "../a.csv"
        assert name_below(f"{folder}a.csv", f"{folder}a.csv") == "."
        assert name_below(f"{folder}a.zip", f"{folder}a.zip!in/b.csv") == "../a.zip!in/b.csv"


def test_a_source_is_a_file_a_folder_or_a_pattern(tmp_path):
    for name in ("b.txt", "a.txt", "c.log"):
        (tmp_path / name).write_text("x")
    folder = str(tmp_path)
    assert find_files(f"{folder}/b.txt") == [(f"{folder}/b.txt", 1)]
    assert [path[-5:] for path, _ in find_files(folder)] == ["a.txt", "b.txt", "c.log"]
    assert [path[-5:] for path, _ in find_files(folder, "*.txt")] == ["a.txt", "b.txt"]
    with pytest.raises(FileNotFoundError, match=r"no file matches .*nothing"):
        find_files(f"{folder}/nothing")
