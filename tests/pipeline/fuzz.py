"""Log files damaged at random, and what has to come of each.

What that is does not come from the code under test: a damage knows which rows it has left alone and
what values it has written, and the other rows that are accepted are read again, one by one, with
Python's `csv` and `json`.
"""

import bz2
import codecs
import csv
import dataclasses
import datetime
import gzip
import io
import json
import lzma
import math
import re
import struct
import zipfile
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet
import zstandard

COLUMNS = ("row", "user", "price", "tags", "time", "note", "click")
UTC = datetime.UTC
VALIDATION, TEST = (datetime.datetime(2024, month, 1, tzinfo=UTC) for month in (2, 3))
MAX_LINE_BYTES = 2**20
BAD = object()  # the meaning of a value that costs its row

YAML = """
source: {source}
label: click
features:
  - {{kind: numeric, name: row, scale: identity}}
  - {{kind: categorical, name: user}}
  - {{kind: numeric, name: price, scale: z_score}}
  - {{kind: multi_valued, name: tags, separator: "|"}}
  - {{kind: categorical, name: hour, column: time, time_part: hour}}
split: {{by: time, column: time, validation_from: 2024-02-01, test_from: 2024-03-01}}
"""


class Row(NamedTuple):
    """What is written of a row. Missing is `""` and None."""

    row: int
    user: str
    price: float | None
    tags: str
    split: int
    click: int


@dataclasses.dataclass
class Case:
    """A damaged file.

    Attributes:
        damage: what was done.
        name: of the file.
        data: its bytes.
        source: the declaration's `source`.
        rows: what must come of the rows that are known, by their numbers: a `Row`, or None if it
            must be rejected.
        is_refused: whether the file must be refused; None if it may be, as any file may that is not
            known to have a good row.
        text: its text, if it is text that can be decoded.
        may_join: whether a row that is known may have become part of a rejected one.
    """

    damage: str
    name: str
    data: bytes
    source: dict[str, Any]
    rows: dict[int, Row | None]
    is_refused: bool | None = False
    text: bytes | None = None
    may_join: bool = False


def wide(digits: str) -> str:
    """Digits as they stand among Chinese characters."""
    return "".join(chr(ord("\uff10") + int(digit)) for digit in digits)


# Values, and what they mean.

PRICES = {
    **{"1.5": 1.5, "+1": 1.0, ".5": 0.5, "5.": 5.0, "1e3": 1e3, "1E-2": 0.01, "-0": 0.0},
    **{"007": 7.0, "1e-60": 0.0, f"0.{'1' * 400}": 1 / 9, "1e+5": 1e5},
    **dict.fromkeys(("", "NA", "NaN", "nan", "inf", "-Infinity"), None),
    **dict.fromkeys(("1e39", "1e999", "9" * 400, "0x10", "1_000", wide("12"), " 1", "1 "), BAD),
    **dict.fromkeys(("1,5", "--1", "1d5", "true", "null", "1.5.2", "∞", "e5", "+", "."), BAD),
}
CLICKS = {
    **dict.fromkeys(("1", "true", "Yes", "T", "y", "1.0", "+1", " 1 "), 1),
    **dict.fromkeys(("0", "FALSE", "no", "f", "N", "-1", "0.00"), 0),
    **dict.fromkeys(
        ("", "NA", "2", "maybe", "1e0", wide("1"), "²", "NaN", "0.5", "1;0", "1\x00"), BAD
    ),
}
USERS = {
    **{text: text for text in (" x ", "é", "a\u2028b", "a\x0bb", "a\x85b", "a\x1cb", "a\x00b")},
    **{
        text: text
        for text in ("\ufeff", "u" * 5000, "'", "\\", "\\N", "\\n", "日本", "👩‍👩‍👧", "e\u0301")
    },
    **{text: text for text in ('"', '"q"', 'a"b', "a,b", ",", "a;b", "a|b", "a\nb", "\n", '\n"\n')},
    **{text: text for text in ("a\r\nb", "null", "None", "nan", "#", "=1+1", "0", "1e3")},
    **dict.fromkeys(("", "NA"), ""),
}
TIMES_OF_NO_DAY = (
    *("", "NA", "soon", "03/01/2024", "2024-13-01", "2024-02-30", "20240230", "12:30", "1e5"),
    *("2024-1-5", "2024-01-05T25:00", "-1", wide("1704067200"), "2024-01-05 10:00 PST"),
)


def spelled(random: Random, time: datetime.datetime) -> str:
    """A time in one of the spellings that the README lists."""
    seconds = int(time.timestamp())
    ahead = datetime.timezone(datetime.timedelta(hours=random.choice([-8, 2, 5.5])))
    return random.choice(
        [
            f"{time:%Y-%m-%d %H:%M:%S}",
            f"{time:%Y/%m/%d %H:%M}",
            f"{time:%Y-%m-%dT%H:%M:%S}.{random.randrange(10**6):06d}",
            f"{time:%Y-%m-%dT%H:%M:%SZ}",
            time.astimezone(ahead).isoformat(),
            f"{time:%Y%m%d%H%M%S}",
            f"{time:%Y%m%d%H}",
            f"{time:%y%m%d%H}",
            *(str(seconds * unit) for unit in (1, 10**3, 10**6, 10**9)),
            f"{seconds}.25",
        ]
    )


def split_of(time: datetime.datetime) -> int:
    """0 to 2: train, validation or test."""
    return (time >= VALIDATION) + (time >= TEST)


class Written(NamedTuple):
    """A row as it is written, and what that means."""

    values: dict[str, str]
    means: Row | None


def draw(random: Random, first: int, wild: float) -> list[Written]:
    """Rows of which a share `wild` has an unusual value."""
    rows = []
    for number in range(first, first + random.choice([1, 3, 12, 40])):
        time = datetime.datetime(2024, 1, 1, tzinfo=UTC)
        time += datetime.timedelta(seconds=random.randrange(90 * 86400) // 3600 * 3600)
        price = round(random.gammavariate(2, 3), 2)
        tags = "|".join(random.sample("abcdef", random.randrange(4)))
        click = random.randrange(2)
        note = "two\nlines" if random.random() < wild / 2 else "ok"
        values = {"row": str(number), "user": f"u{random.randrange(9)}", "price": str(price)}
        values |= {"tags": tags, "time": spelled(random, time), "note": note, "click": str(click)}
        means: dict[str, Any] = {"row": number, "user": values["user"], "price": price}
        means |= {"tags": tags, "split": split_of(time), "click": click}
        if random.random() < wild:
            name = random.choice(["price", "click", "user", "time"])
            known = {"price": PRICES, "click": CLICKS, "user": USERS}.get(name)
            values[name], meaning = random.choice(
                [*known.items()] if known else [(text, BAD) for text in TIMES_OF_NO_DAY]
            )
            means[{"time": "split"}.get(name, name)] = meaning
        rows.append(Written(values, None if BAD in means.values() else Row(**means)))
    return rows


# Text files.


def csv_cell(value: str, delimiter: str, quotes_all: bool) -> str:
    if quotes_all or re.search(f'["\r\n{re.escape(delimiter)}]', value):
        return '"' + value.replace('"', '""') + '"'
    return value


@dataclasses.dataclass
class Text:
    """A log as text: pieces with their line ends, of which the first may be a header."""

    kind: str  # csv, tsv or jsonl
    names: list[str]  # of columns, in order
    delimiter: str
    pieces: list[str]
    rows: list[Written]

    @property
    def header(self) -> int:
        """How many pieces are no rows."""
        return len(self.pieces) - len(self.rows)

    @property
    def whole(self) -> str:
        return "".join(self.pieces)

    @property
    def known(self) -> dict[int, Row | None]:
        return {int(row.values["row"]): row.means for row in self.rows}

    @property
    def source(self) -> dict[str, Any]:
        declared = {"format": self.kind, "missing": ["NA"]}
        return declared | ({"delimiter": self.delimiter} if self.delimiter not in ",\t" else {})

    def case(self, damage: str, **changes: Any) -> Case:
        """A file with this text, without further damage."""
        data = changes.pop("data", self.whole.encode())
        case = Case(damage, f"log.{self.kind}", data, self.source, self.known, text=data)
        return dataclasses.replace(case, **changes)


def write_text(random: Random, first: int, wild: float = 0.2, kind: str | None = None) -> Text:
    """A log in one of the formats of text."""
    kind = kind or random.choice(["csv", "csv", "tsv", "jsonl"])
    rows = draw(random, first, wild)
    names = random.sample(COLUMNS, len(COLUMNS)) if random.random() < 0.3 else [*COLUMNS]
    end = random.choice(["\n", "\n", "\r\n"])
    if kind == "jsonl":
        return Text(kind, names, "", [json_line(random, row, names) + end for row in rows], rows)
    delimiter = "\t" if kind == "tsv" else random.choice(",,,;|")
    if kind == "tsv":  # it cannot say what has its delimiters
        rows = [row for row in rows if not re.search("[\t\r\n]", "".join(row.values.values()))]
        pieces = ["\t".join(row.values[name] for name in names) + end for row in rows]
    else:
        is_all = random.random() < 0.3
        cells = ([csv_cell(row.values[n], delimiter, is_all) for n in names] for row in rows)
        pieces = [delimiter.join(row) + end for row in cells]
    return Text(kind, names, delimiter, [delimiter.join(names) + end, *pieces], rows)


def json_line(random: Random, row: Written, names: list[str]) -> str:
    """A row with values that are lists, numbers, booleans or absent where they can be."""
    document: dict[str, Any] = {name: row.values[name] for name in names}
    if random.random() < 0.5:
        document["row"] = int(row.values["row"])
    if random.random() < 0.5:
        document["tags"] = [tag for tag in row.values["tags"].split("|") if tag]
        if random.random() < 0.3:
            document["tags"].append(None)
    if row.values["click"] in ("0", "1"):
        document["click"] = random.choice([row.values["click"], int(row.values["click"])])
        if random.random() < 0.3:
            document["click"] = row.values["click"] == "1"
    if re.fullmatch(r"\d\.\d+", row.values["price"]) and random.random() < 0.5:
        document["price"] = float(row.values["price"])
    if row.values["price"] == "" and random.random() < 0.5:
        del document["price"]
    if row.values["user"] == "" and random.random() < 0.5:
        document["user"] = None
    if random.random() < 0.2:
        document["more"] = {"any": ["thing", {}]}
    return json.dumps(document, ensure_ascii=random.random() < 0.5)


# Damages to text.


def bytes_changed(random: Random, first: int) -> Case:
    """A few bytes changed, cut out or put in."""
    text = write_text(random, first)
    return edited(
        text, [random_edit(random, text.whole.encode()) for _ in range(random.choice([1, 1, 2, 5]))]
    )


TOKENS = [
    *(b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b'""', b'"""', b"'", b","),
    *(b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\n\n", b"\\", b"{", b"}", b"[", b":", b"\x1f"),
    *(b"\x1a", b"1", b"-", b"e", b" ", b"\xc2\x85", b"\xe2\x80\xa8", b'",', b',"', b'\n"', b'"\n'),
]


def random_edit(random: Random, data: bytes) -> tuple[int, int, bytes]:
    """Where to put what: begin, end, bytes."""
    begin = random.randrange(len(data) + 1)
    end = min(len(data), begin + random.choice([0, 0, 1, 1, 1, random.randrange(300)]))
    new = random.choice([b"", random.choice(TOKENS), random.choice(TOKENS), random.randbytes(3)])
    return begin, end, new


def edited(text: Text, edits: Iterable[tuple[int, int, bytes]]) -> Case:
    """The rows next to an edit are not known any more."""
    whole = text.whole.encode()
    ends = [0]
    for piece in text.pieces:
        ends.append(ends[-1] + len(piece.encode()))
    touched: set[int] = set()
    data, untouched = whole, len(whole) + 1
    for begin, end, new in sorted(edits, reverse=True):
        if end >= untouched:
            continue  # they would be one
        untouched = begin
        data = data[:begin] + new + data[end:]
        touched |= {
            i for i in range(len(text.pieces)) if ends[i] <= end and ends[i + 1] > begin - 1
        }
        touched |= {len(text.pieces) - 1} if begin == len(whole) else set()
    known = {
        int(row.values["row"]): row.means
        for i, row in enumerate(text.rows, text.header)
        if i not in touched
    }
    first_touched = bool(touched & {*range(text.header)})
    known = {} if first_touched else known
    refused = None if first_touched else False
    may_join = text.kind == "csv"
    return text.case(
        "bytes", data=data, text=data, rows=known, is_refused=refused, may_join=may_join
    )


def line_ends(random: Random, first: int) -> Case:
    """Other line ends, mixed ones, none at the end, many at the end."""
    text = write_text(random, first)
    bare = [piece.rstrip("\r\n") for piece in text.pieces]
    how = random.choice(["mixed", "none", "many", "old Mac"])
    if how == "old Mac":
        one = len(bare) == 1
        data = "\r".join([*bare, ""]).encode()
        refused = None if one or text.kind == "jsonl" else True
        return text.case(
            f"line ends: {how}",
            data=data,
            rows={} if refused is None else text.known,
            is_refused=refused,
        )
    ends = [random.choice(["\n", "\r\n"]) for _ in bare]
    if how == "none":
        ends[-1] = ""
    elif how == "many":
        ends[-1] = "\n" * random.choice([2, 50])
    data = "".join(map("".join, zip(bare, ends, strict=True))).encode()
    return text.case(f"line ends: {how}", data=data, text=data)


def columns_changed(random: Random, first: int) -> Case:
    """Columns renamed, twice, left out or cut off, or no header."""
    text = write_text(random, first, kind=random.choice(["csv", "tsv"]))
    how = random.choice(
        ["renamed", "twice", "dropped", "no header", "header again", "short", "long"]
    )
    how = how if text.rows else "renamed"
    name = random.choice([name for name in COLUMNS if name != "note"])
    header, rows = text.pieces[0], text.pieces[1:]
    d = text.delimiter
    names = header.rstrip("\r\n").split(d)
    known: dict[int, Row | None] = text.known
    refused: bool | None = True
    if how == "renamed":
        new = random.choice(
            [name.upper(), f" {name}", f"{name} ", f"{name}s", "", f"\u200b{name}", "x"]
        )
        other = random.choice(["a\nb", "\x1b[31m", "x" * 5000, "", "note", '"'])
        cells = {name: new, "note": other}
        quote = str if text.kind == "tsv" else lambda v: csv_cell(v, d, False)
        header = d.join(quote(cells.get(n, n)) for n in names) + "\n"
    elif how == "twice":
        header = d.join(name if n == "note" else n for n in names) + "\n"
    elif how == "dropped":
        kept = [i for i, n in enumerate(names) if n != name]
        lines = [[names[i] for i in kept]]
        lines += [[row.values[names[i]] for i in kept] for row in text.rows]
        quote = str if text.kind == "tsv" else lambda v: csv_cell(v, d, False)
        header, *rows = [d.join(map(quote, line)) + "\n" for line in lines]
    elif how == "no header":
        header = ""
    else:
        at = random.randrange(len(rows))
        number = int(text.rows[at].values["row"])
        if how == "header again":
            rows.insert(at, header)
        elif how == "short":
            rows[at] = rows[at].rpartition(d)[0] + "\n"
            known[number] = None
        else:
            rows[at] = f"{d}{rows[at]}"
            known[number] = None
        refused = False
        # A quoted value of several lines may be cut in two.
        known = known if '"' not in rows[at] else {n: r for n, r in known.items() if n != number}
    data = (header + "".join(rows)).encode()
    return text.case(
        f"columns: {how}", data=data, text=data, rows=known, is_refused=refused, may_join=True
    )


def other_delimiter(random: Random, first: int) -> Case:
    """A delimiter that is not the declared one."""
    text = write_text(random, first, kind="csv")
    other = random.choice([d for d in (",", ";", "\t", "|", ":", " ", "^") if d != text.delimiter])
    source = text.source | {"delimiter": other}
    return text.case("delimiter", source=source, is_refused=True)


def other_format(random: Random, first: int) -> Case:
    """A format that is not the declared one."""
    text = write_text(random, first)
    kinds = {"csv", "tsv", "jsonl", "parquet"} - {text.kind}
    source = {"format": random.choice(sorted(kinds)), "missing": ["NA"]}
    return text.case("format", source=source, is_refused=None if not text.rows else True)


def encoded(random: Random, first: int) -> Case:
    """An encoding, declared or not, with or without damage."""
    text = write_text(random, first)
    encoding = random.choice(
        ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "gb18030"]
    )
    data = text.whole.encode(encoding, "replace")
    known = {
        number: row
        for number, row in text.known.items()
        if row is None or row.user.encode(encoding, "replace").decode(encoding) == row.user
    }
    is_declared = random.random() < 0.6
    source = text.source | ({"encoding": encoding} if is_declared else {})
    what = f"encoding: {encoding}{'' if is_declared else ', not declared'}"
    case = text.case(what, data=data, rows=known, source=source, text=None, is_refused=None)
    if encoding == "utf-8-sig":
        return dataclasses.replace(case, text=data[3:], is_refused=False)
    # "?" for what cannot be written may make a good value of a bad one, or the other way round.
    case.rows = {n: row for n, row in known.items() if text_of(text, n).isascii()}
    if not is_declared:
        is_wide = encoding.startswith(("utf-16", "utf-32"))
        is_same = encoding in ("latin-1", "cp1252", "gb18030")
        refused = True if is_wide and text.rows else None
        return dataclasses.replace(case, is_refused=refused, rows=case.rows if is_same else {})
    if random.random() < 0.3 and text.rows:
        case.data, case.rows = data[: random.randrange(len(data))], {}
    return case


def text_of(text: Text, number: int) -> str:
    return next(
        piece
        for piece, row in zip(text.pieces[text.header :], text.rows, strict=True)
        if int(row.values["row"]) == number
    )


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


def compressed(random: Random, first: int) -> Case:
    """A compressed file: whole, in parts, cut off, damaged, or not compressed at all."""
    text = write_text(random, first)
    ending = random.choice(sorted(COMPRESS))
    pack, plain = COMPRESS[ending], text.whole.encode()
    data, name = pack(plain), f"log.{text.kind}.{ending}"
    how = random.choice(["whole", "parts", "cut", "damaged", "plain", "other name", "behind"])
    case = text.case(f"{ending}: {how}", data=data, name=name, text=plain)
    if how == "whole":
        return case
    if how == "parts":
        at = random.randrange(len(plain) + 1)
        return dataclasses.replace(case, data=pack(plain[:at]) + pack(plain[at:]))
    if how == "cut":
        case.data = data[: random.randrange(len(data))]
    elif how == "damaged":
        at, flipped = random.randrange(len(data)), random.randrange(1, 256)
        case.data = data[:at] + bytes([data[at] ^ flipped]) + data[at + 1 :]
        return dataclasses.replace(case, is_refused=None)  # a header has bytes that say nothing
    elif how == "plain":
        case.data = plain
        return dataclasses.replace(case, is_refused=True if plain else None)
    elif how == "other name":
        case.name = f"log.{text.kind}"
    else:
        case.data = data + random.choice([b"\n", b"garbage", random.randbytes(40)])
        return dataclasses.replace(case, is_refused=None)
    return dataclasses.replace(case, is_refused=True)


def zipped(random: Random, first: int) -> Case:
    """A member of an archive: whole, cut off or damaged."""
    text = write_text(random, first)
    plain, file = text.whole.encode(), io.BytesIO()
    with zipfile.ZipFile(
        file, "w", random.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
    ) as archive:
        archive.writestr(f"a/log.{text.kind}", plain)
    data, how = file.getvalue(), random.choice(["whole", "cut", "damaged", "no member"])
    name = f"log.zip!a/log.{text.kind}"
    case = text.case(f"zip: {how}", data=data, name=name, text=plain)
    if how == "cut":
        return dataclasses.replace(case, data=data[: random.randrange(len(data))], is_refused=True)
    if how == "damaged":
        at = random.randrange(len(data))
        data = data[:at] + bytes([data[at] ^ random.randrange(1, 256)]) + data[at + 1 :]
        return dataclasses.replace(case, data=data, is_refused=None)
    if how == "no member":
        return dataclasses.replace(case, name="log.zip!other.csv", is_refused=True)
    return case


def cut(random: Random, first: int) -> Case:
    """The file ends early."""
    text = write_text(random, first)
    whole = text.whole.encode()
    return edited(text, [(random.randrange(len(whole) + 1), len(whole), b"")])


def lines_moved(random: Random, first: int) -> Case:
    """Lines in another order, twice, or empty ones between them."""
    text = write_text(random, first)
    rows = text.pieces[text.header :]
    random.shuffle(rows)
    for _ in range(random.randrange(3)):
        rows.insert(random.randrange(len(rows) + 1), random.choice(["\n", "\r\n", " \n"]))
    data = "".join([*text.pieces[: text.header], *rows]).encode()
    return text.case("lines moved", data=data, text=data)


def huge(random: Random, first: int) -> Case:
    """A line that is longer than any may be, or a header that is very long."""
    text = write_text(random, first, wild=0)
    if random.random() < 0.3 and text.kind != "jsonl":
        more = "".join(
            f"{text.delimiter}column_{i}" for i in range(random.choice([10**3, 2 * 10**4]))
        )
        cells = "".join(text.delimiter for _ in range(more.count(text.delimiter)))
        header, *rows = (piece.rstrip("\r\n") for piece in text.pieces)
        data = "\n".join([header + more, *(row + cells for row in rows)]).encode()
        return text.case("huge header", data=data, text=data)
    at = random.randrange(text.header, len(text.pieces) + 1)
    line = random.choice(["x", '"', "\x00", '{"a":', "[", f"1{text.delimiter}"])
    line *= (MAX_LINE_BYTES + random.randrange(10**5)) // len(line)
    text.pieces.insert(at, line + "\n")
    data = text.whole.encode()
    text.pieces.pop(at)
    return text.case("huge line", data=data, text=None, may_join=True)


def empty(random: Random, first: int) -> Case:
    """Nothing, or next to nothing."""
    text = write_text(random, first)
    data = random.choice(
        [b"", b"\n", b" ", b"\r\n", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"{}", b"[]", b"\n\n\n"]
    )
    refused = False if data == b"" else None
    return text.case(
        f"empty: {data!r}",
        data=data,
        text=data.removeprefix(codecs.BOM_UTF8),
        rows={},
        is_refused=refused,
    )


def nul(random: Random, first: int) -> Case:
    """A run of zero bytes, as disks leave them."""
    text = write_text(random, first)
    whole = text.whole.encode()
    begin = random.randrange(len(whole))
    end = min(len(whole), begin + random.randrange(1, 200))
    return edited(text, [(begin, end, bytes(random.choice([1, end - begin, 5000])))])


BAD_JSON = [
    *("{", "}", "[1]", "1", '"x"', "null", "nonsense", "[" * 5000, '{"a":' * 5000, '{"row": 1,}'),
    *("{'row': 1}", '{"row": 1} {"row": 2}', '{"row": 01}', '{"row": 1, "row": 1}', "\ufeff{}"),
    *('{"row": {"a": 1}}', '{"row": [1]}', '{"row": 1, "tags": [["a"]]}', '{"user": "\\ud800"}'),
    *('{"row": 1, "tags": ["a|b"]}', '{"row": 1, "tags": {}}', '{"row": tru}', '{"row": +1}', "{}"),
]


def bad_json(random: Random, first: int) -> Case:
    """Lines that are no objects, or objects that are no rows."""
    text = write_text(random, first, kind="jsonl")
    pieces = [*text.pieces]
    for _ in range(random.randrange(1, 4)):
        pieces.insert(random.randrange(len(pieces) + 1), random.choice(BAD_JSON) + "\n")
    data = "".join(pieces).encode()
    return text.case("bad JSON", data=data, text=data.removeprefix(codecs.BOM_UTF8))


def wild_values(random: Random, first: int) -> Case:
    """Unusual values alone."""
    return write_text(random, first, wild=0.9).case("values")


# Parquet.


def of_types(random: Random, rows: list[Written]) -> tuple[pa.Table, dict[int, Row | None]]:
    """A table of one of the types that each column may have."""
    rows = [row for row in rows if row.means is not None]
    means = [row.means for row in rows]

    def text(name: str) -> pa.Array:
        return pa.array([row.values[name] for row in rows], pa.string())

    numbers = pa.array([row.row for row in means], pa.int64())
    prices = pa.array([row.price for row in means], pa.float64())
    clicks = pa.array([row.click for row in means], pa.int64())
    tags = [[tag for tag in row.tags.split("|") if tag] for row in means]
    times = [
        datetime.datetime(2024, 1 + row.split, random.randrange(1, 29), 12, tzinfo=UTC)
        for row in means
    ]
    columns = {
        "row": random.choice(
            [
                numbers,
                numbers.cast(pa.float64()),
                numbers.cast(pa.uint32()),
                numbers.cast(pa.decimal128(20, 0)),
                text("row"),
            ]
        ),
        "user": random.choice(
            [
                text("user"),
                text("user").cast(pa.large_string()),
                text("user").cast(pa.binary()),
                text("user").dictionary_encode(),
                text("user").cast(pa.string_view()),
            ]
        ),
        "price": random.choice([prices, text("price"), prices.cast(pa.float32())]),
        "tags": random.choice(
            [
                pa.array(tags, pa.list_(pa.string())),
                pa.array(tags, pa.large_list(pa.large_string())),
                text("tags"),
                pa.array([t or None for t in tags], pa.list_(pa.string())),
            ]
        ),
        "time": random.choice(
            [
                text("time"),
                *(
                    pa.array(times, pa.timestamp(unit, zone))
                    for unit in ("s", "ms", "us", "ns")
                    for zone in (None, "UTC", "America/New_York")
                ),
                pa.array([time.date() for time in times], pa.date32()),
                pa.array([time.date() for time in times], pa.date64()),
            ]
        ),
        "note": pa.array(
            [{"any": ["thing"]}] * len(rows), pa.struct({"any": pa.list_(pa.string())})
        ),
        "click": random.choice(
            [
                clicks,
                clicks.cast(pa.bool_()),
                clicks.cast(pa.int8()),
                clicks.cast(pa.float64()),
                text("click"),
                clicks.cast(pa.decimal128(20, 1)),
            ]
        ),
    }
    return pa.table(columns), {row.row: row for row in means}


def parquet_data(random: Random, table: pa.Table) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(
        table,
        file,
        row_group_size=random.choice([5, 1000]),
        compression=random.choice(["snappy", "none", "zstd", "gzip", "lz4", "brotli"]),
        use_dictionary=random.random() < 0.5,
        write_page_checksum=True,
        data_page_version=random.choice(["1.0", "2.0"]),
    )
    return file.getvalue()


def parquet(random: Random, first: int) -> Case:
    """Parquet of any types: whole, cut off, damaged, or with columns that are no values."""
    table, known = of_types(random, draw(random, first, 0.2))
    how = random.choice(
        ["whole", "cut", "type", "nulls", "no column", "twice", "csv", *2 * ["whole", "damaged"]]
    )
    source = {"format": "parquet", "missing": ["NA"]}
    name = random.choice([name for name in COLUMNS if name != "note"])
    at = table.column_names.index(name)
    refused: bool | None = False
    if how == "type":
        wrong = random.choice(
            [
                pa.array([{"x": 1}] * len(table), pa.struct({"x": pa.int64()})),
                pa.array([[("x", 1)]] * len(table), pa.map_(pa.string(), pa.int64())),
                pa.array([[[1]]] * len(table), pa.list_(pa.list_(pa.int64()))),
                pa.array([b"\xff"] * len(table), pa.binary()),
                pa.array([datetime.time(1, 2)] * len(table), pa.time64("us")),
            ]
        )
        table = table.set_column(at, name, wrong)
        refused, known = None, {}
        how += f" {wrong.type} of {name}"
        if wrong.type != pa.binary() or name in ("row", "time", "click"):
            known = dict.fromkeys(known, None)
    elif how == "nulls":
        table = table.set_column(
            at, name, pa.nulls(len(table), random.choice([pa.string(), pa.null(), pa.int64()]))
        )
        if name in ("time", "click"):
            refused, known = None if not len(table) else True, {}
        else:
            missing: Any = {"row": -1, "price": None}.get(name, "")
            known = {n: row._replace(**{name: missing}) for n, row in known.items()}
            known = {} if name == "row" else known
        how += f" of {name}"
    elif how == "no column":
        table, refused = table.drop_columns([name]), True
    elif how == "twice":
        table, refused = table.append_column(name, table.column(name)), True
    data = parquet_data(random, table)
    if how == "cut":
        data, refused = data[: random.randrange(len(data))], True
    elif how == "damaged":
        for _ in range(random.choice([1, 3])):
            place = random.randrange(len(data))
            data = (
                data[:place] + bytes([data[place] ^ random.randrange(1, 256)]) + data[place + 1 :]
            )
        refused = None
    elif how == "csv":
        data, refused = write_text(random, first).whole.encode(), True
    return Case(f"parquet: {how}", "log.parquet", data, source, known, refused)


DAMAGES: dict[Callable[[Random, int], Case], int] = {
    bytes_changed: 8,
    parquet: 6,
    compressed: 4,
    columns_changed: 3,
    encoded: 3,
    wild_values: 3,
    **dict.fromkeys((line_ends, zipped, cut, lines_moved, bad_json, nul), 2),
    **dict.fromkeys((other_delimiter, other_format, huge, empty), 1),
}


def damaged(seed: int) -> Case:
    """The case of a seed. Row numbers of different seeds differ."""
    random = Random(seed)
    (damage,) = random.choices([*DAMAGES], [*DAMAGES.values()])
    return damage(random, 100 * seed % 2**23)


# Rows read again, one by one.


def read_again(raw: bytes, case: Case, names: list[str]) -> Row | None:
    """What a row of text means, None if it cannot be."""
    try:
        values = (
            json_values(raw) if case.source["format"] == "jsonl" else text_values(raw, case, names)
        )
    except (ValueError, csv.Error):
        return None
    if values is None:
        return None
    values = {name: "" if value == "NA" else value for name, value in values.items()}
    row, price = number(values["row"]), number(values["price"])
    time, click = moment(values["time"]), clicked(values["click"])
    if BAD in (row, price, time, click):
        return None
    number_of_row = -1 if row is None else row
    return Row(number_of_row, values["user"], price, values["tags"], split_of(time), click)


def text_values(raw: bytes, case: Case, names: list[str]) -> dict[str, str] | None:
    delimiter = case.source.get("delimiter", "\t" if case.source["format"] == "tsv" else ",")
    text = raw.decode()
    if case.source["format"] == "tsv":
        rows = [text.split(delimiter)]
    else:
        csv.field_size_limit(2**30)
        rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
    if len(rows) != 1 or len(rows[0]) != len(names):
        return None
    return dict(zip(names, rows[0], strict=True))


def json_values(raw: bytes) -> dict[str, str] | None:
    document = json.loads(raw.decode(), parse_int=str, parse_float=str, parse_constant=str)
    if not isinstance(document, dict):
        return None
    values = {}
    for name in COLUMNS:
        value = document.get(name)
        if isinstance(value, list) and name == "tags":
            value = "|".join(item for item in value if item is not None)
        if isinstance(value, bool):
            value = str(int(value))
        if not isinstance(value, str | None):
            return None
        values[name] = value or ""
    return values


def number(text: str) -> Any:
    """A number as 32 bits hold it."""
    if text.lower().lstrip("+-") in ("", "nan", "inf", "infinity"):
        return None
    if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text):
        return BAD
    try:
        return struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:
        return BAD


def clicked(text: str) -> Any:
    text = text.strip().lower()
    if re.fullmatch(r"[-+]?[0-9]+\.?[0-9]*", text):
        return {1.0: 1, 0.0: 0, -1.0: 0}.get(float(text), BAD)
    return {"true": 1, "yes": 1, "t": 1, "y": 1, "false": 0, "no": 0, "f": 0, "n": 0}.get(text, BAD)


def moment(text: str) -> Any:
    """A time by Python's calendar."""
    text = text.strip(" \t\n\r\v\f")
    iso = re.fullmatch(
        r"(\d{4})[-/](\d\d)[-/](\d\d)(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?"
        r" ?(Z|UTC|[-+]\d\d(?::?\d\d)?)?)?",
        text,
        re.ASCII,
    )
    try:
        if iso:
            *fields, offset = iso.groups()
            ahead = (offset or "").strip("ZUTC").replace(":", "").ljust(5, "0")
            zone = int(ahead[:3]) * 60 + int(f"{ahead[0]}{ahead[3:5]}") if ahead.strip("0") else 0
            year, month, day, hour, minute, second = (int(field or 0) for field in fields)
            leap = second == 60
            time = datetime.datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
            return time - datetime.timedelta(minutes=zone) + datetime.timedelta(seconds=leap)
        for pattern, layout in (
            ("(19[7-9]|20[0-9])[0-9]{5}([0-9]{2}){0,3}", "%Y%m%d%H%M%S"),
            ("[0-9]{8}", "%y%m%d%H"),
        ):
            if re.fullmatch(pattern, text):
                try:
                    layout = layout[: len(text) - (2 if layout[1] == "Y" else 0)]
                    return datetime.datetime.strptime(text, layout).replace(tzinfo=UTC)
                except ValueError:
                    continue
        if not re.fullmatch(r"[0-9]{1,19}(\.[0-9]*)?([eE]\+?[0-9][0-9]?)?", text):
            return BAD
        since = float(text)
        if not 1e8 <= since < 9.2e18:
            return BAD
        unit = next(
            unit
            for limit, unit in ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
            if since < limit
        )
        return datetime.datetime.fromtimestamp(since / unit, UTC)
    except (ValueError, OverflowError):
        return BAD
