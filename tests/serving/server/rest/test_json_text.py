"""JSON as RapidJSON reads it: values, and the words and offsets of errors.

A document with `Inf` in it is one that Python's own parser refuses, so the reader of this module
reads it: `[Inf, document]` must give what the document alone gives.
"""

import gc
import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server.rest.json_text import JsonError, dump_scalar, dumps, loads

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
EXACT = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def in_reader(body):
    """What the reader makes of a document."""
    infinity, value = loads(b"[Inf," + body + b"]")
    assert infinity == math.inf
    return value


@EXACT
@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 0, "\t", " \r"]))
def test_documents_read_as_they_were_written(document, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    body = text.encode("utf-8", "surrogatepass")
    expected = repr(json.loads(body.decode("utf-8", "surrogateescape")))
    assert repr(loads(body)) == expected
    assert repr(in_reader(b" \n" + body + b"\t")) == expected


@pytest.mark.parametrize("read", [loads, in_reader])
@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', {"a": 1, "b": 2}),
        (b'"\\ud83d\\ude00 \\u00e9\\/\\b\\f\\n\\r\\t\\\\\\""', '😀 é/\b\f\n\r\t\\"'),
        (b'"\\uD800\\uDC00\\uDBFF\\uDFFF\\uD7FF\\uE000"', "\U00010000\U0010ffff\ud7ff\ue000"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xff\xc3\xa9"', "\udcffé"),
        (b'"\x7f"', "\x7f"),
        (b"[]", []),
        (b"{}", {}),
        (b"[[], {}, [[]]]", [[], {}, [[]]]),
        (b"[-0.5, 1e2, 1E+2, 10e-1, 0]", [-0.5, 100.0, 100.0, 1.0, 0]),
        (b"[18446744073709551615, -9223372036854775808]", [2**64 - 1, -(2**63)]),
        (b"1e-400", 0.0),
    ],
)
def test_values(read, body, value):
    assert repr(read(body)) == repr(value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"NaN", math.nan),
        (b"-NaN", math.nan),
        (b"Inf", math.inf),
        (b"-Inf", -math.inf),
        (b"Infinity", math.inf),
        (b"-Infinity", -math.inf),
    ],
)
def test_numbers_that_are_not_finite(body, value):
    assert repr(loads(body)) == repr(value)
    assert repr(loads(b"[" + body + b"]")) == repr([value])


def test_integers_beyond_64_bits_are_doubles_to_the_reader():
    assert repr(in_reader(b"[36893488147419103232, -18446744073709551616]")) == repr(
        [float(2**65), -float(2**64)]
    )


@pytest.mark.parametrize("document", ["1", "[1]", '{"a": 1}', '"x"', "Inf", "[Inf]", "null"])
def test_what_follows_a_document_and_a_byte_order_mark_are_ignored(document):
    body = document.encode()
    assert loads(b"\xef\xbb\xbf \r" + body + b" ]x") == loads(body)


def test_nesting_of_any_depth_is_read_and_forgotten_where_no_tensor_is_so_deep():
    value = loads(b'{"a":[' * 50_000 + b"]}" * 50_000)
    for _ in range(500):
        value = value["a"][0]
    assert value == {"a": []}
    assert (
        loads(b'{"x":' + b'["]", {"k": 1}, ' * 3000 + b"1" + b"]" * 3000 + b', "y": 2}')["y"] == 2
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 16_000_000,
        b'{"a":' * 300_000,
        b"[" + b"1," * 500_000,
        b"[" + b"[]," * 500_000,
        b'"' + b"\\n" * 500_000,
        b'{"x":' + b"[" * 2000 + b"]" * 2000 + b', "y": [' + b"1," * 500_000 + b"1]}",
    ],
    ids=["lists", "objects", "numbers", "empty lists", "escapes", "deep and wide"],
)
def test_what_is_no_plain_json_costs_little(body, request):
    gc.freeze()  # or what other tests have left is walked each time that lists are made
    request.addfinalizer(gc.unfreeze)
    started = time.process_time()
    with pytest.raises(JsonError, match="at offset"):
        loads(body)
    assert time.process_time() - started < 1  # a quarter of it by itself


def test_a_long_document_costs_little_to_quote():
    value = loads(b"[" + b"1," * 1_000_000 + b"1]")
    started = time.process_time()
    assert dumps(value) == "[" + "1, " * 85
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("body", "message", "offset"),
    [
        (b"", "The document is empty.", 0),
        (b" \n", "The document is empty.", 2),
        (b"[1 2]", "Missing a comma or ] after an array element.", 3),
        (b"[1}", "Missing a comma or ] after an array element.", 2),
        (b"[[1], [2]", "Missing a comma or ] after an array element.", 9),
        (b'{"a":1 "b":2}', "Missing a comma or } after an object member.", 7),
        (b'{"a":1]', "Missing a comma or } after an object member.", 6),
        (b"{1:2}", "Missing a name for object member.", 1),
        (b'{"a":1,}', "Missing a name for object member.", 7),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b"[1,]", "Invalid value.", 3),
        (b"[", "Invalid value.", 1),
        (b"[-]", "Invalid value.", 1),
        (b"[+1]", "Invalid value.", 1),
        (b"tru", "Invalid value.", 3),
        (b"[nulx]", "Invalid value.", 4),
        (b"Infi", "Invalid value.", 0),
        (b"[1.]", "Miss fraction part in number.", 3),
        (b"[1e]", "Miss exponent in number.", 3),
        (b"[2e+]", "Miss exponent in number.", 4),
        (b"[1e400]", "Number too big to be stored in double.", 1),
        (b"[-1" + b"0" * 400 + b"x", "Number too big to be stored in double.", 1),
        (b'"abc', "Missing a closing quotation mark in string.", 4),
        (b'"a\x00"', "Missing a closing quotation mark in string.", 2),
        (b'"a\nb"', "Invalid encoding in string.", 2),
        (b'"\x1f"', "Invalid encoding in string.", 1),
        (b'"a\\x"', "Invalid escape character in string.", 2),
        (b'"a\\', "Invalid escape character in string.", 2),
        (b'"a\\u12g4"', "Incorrect hex digit after \\u escape in string.", 2),
        (b'"a\\ud800\\u12"', "Incorrect hex digit after \\u escape in string.", 2),
        (b'"a\\ud800"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\ud800\\ud800"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\ud800\\udbff"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\ud800\\ue000"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\udbff\\u0041"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\udc00\\udc00"', "The surrogate pair in string is invalid.", 2),
        (b'"a\\udfff"', "The surrogate pair in string is invalid.", 2),
        ('["é😀" x]'.encode(), "Missing a comma or ] after an array element.", 10),
    ],
)
def test_errors_name_the_fault_and_its_offset_in_bytes(body, message, offset):
    with pytest.raises(JsonError) as raised:
        loads(body)
    assert str(raised.value) == f"{message} at offset: {offset}"


@EXACT
@given(DOCUMENTS, st.integers(0, 300))
def test_dumps_is_json_cut_to_a_length(document, limit):
    whole = json.dumps(document, ensure_ascii=False)
    assert dumps(document, limit) == whole[:limit]
    assert dumps(document) == whole[:256]


def test_dumps_of_any_depth():
    value = None
    for _ in range(100_000):
        value = [value]
    assert dumps(value) == "[" * 256


def test_scalars_are_written_as_they_are():
    assert dump_scalar('é"') == '"é\\""'
    assert [dump_scalar(value) for value in (None, True, 1, 0.5)] == ["null", "true", "1", "0.5"]
