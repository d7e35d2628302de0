"""The keys of vocabularies: which are kept, and in which order."""

from ctr_keras.features import Vocabulary
from pipeline import vocabulary
from pipeline.vocabulary import in_order

VOCABULARIES = [Vocabulary("user", min_count=2), Vocabulary("item", min_count=1)]


def kept(*partitions: list[list[tuple[bytes, int]]]) -> list[list[bytes]]:
    batches = [vocabulary._keep_frequent((0, parts), VOCABULARIES) for parts in partitions]
    return [list(keys) for keys in in_order(batches, len(VOCABULARIES))]


def test_frequent_keys_come_first_and_ties_by_their_bytes(monkeypatch):
    monkeypatch.setattr(vocabulary, "_KEYS_AT_ONCE", 2)
    first = [[(b"user=b", 2), (b"item=z", 1)], [(b"user=b", 3), (b"user=\xc3\xa9", 7)]]
    second = [[(b"user=z", 5), (b"user=a", 5), (b"item=x=y", 1)]]
    users = [b"user=\xc3\xa9", b"user=a", b"user=b", b"user=z"]
    assert kept(first, second) == kept(second, first) == [users, [b"item=x=y", b"item=z"]]


def test_rare_keys_and_those_with_line_breaks_are_left_out():
    assert kept([[(b"user=a", 1), (b"user=b\n", 9), (b"user=c\r", 9)]]) == [[], []]


def test_no_rows_leave_empty_vocabularies():
    assert kept() == [[], []]
