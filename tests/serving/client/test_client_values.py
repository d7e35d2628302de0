"""What users pass, as arrays of the types that a signature takes."""

import numpy as np
import pandas as pd
import pytest

from serving.client import TensorInfo
from serving.client.tables import as_columns, columns_of_rows, to_frame, to_rows
from serving.client.values import to_arrays


def arrays(dtype, values):
    return to_arrays({"c": values}, {"c": TensorInfo(f"DT_{dtype}")})["c"]


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("FLOAT", "1", "expected a number, got '1'"),
        ("FLOAT", True, "expected a number, got True"),
        ("STRING", True, 'expected a string, got True: give it as in training, "True" or "1"'),
        ("STRING", np.False_, 'got False: give it as in training, "False" or "0"'),
        ("STRING", 7.0, 'got 7.0: give it as in training, "7.0" or "7"'),
        ("STRING", {}, "expected a string, got {}"),
        ("INT64", None, "expected a whole number from -9223372036854775808 to "),
        ("INT64", 1.0, "expected a whole number"),
        ("INT8", 128, "from -128 to 127, got 128"),
        ("UINT8", -1, "from 0 to 255, got -1"),
        ("INT32", True, "expected a whole number"),
        ("BOOL", 1, "expected True or False, got 1"),
        ("COMPLEX64", "1", "expected a number"),
    ],
)
def test_values_that_do_not_fit_are_named(dtype, value, message):
    good = {"STRING": "", "BOOL": True}.get(dtype, 1)
    with pytest.raises(ValueError, match=f"^row 3, column c: .*{message}"):
        arrays(dtype, [good, good, value])
    with pytest.raises(ValueError, match=f"^row 2, column c: .*{message}"):
        arrays(dtype, [[good, good], [good, value]])


def test_arrays_are_checked_like_lists():
    with pytest.raises(ValueError, match="row 2, column c: expected a whole number from -128"):
        arrays("INT8", np.array([0, 300]))
    with pytest.raises(ValueError, match=r"expected a number, got True"):
        arrays("FLOAT", np.array([True]))
    with pytest.raises(ValueError, match="expected a whole number"):
        arrays("INT64", np.array([1.5]))
    assert arrays("FLOAT", np.array([1, 2])).dtype == np.float32
    assert arrays("INT64", np.array([3], np.uint8)).tolist() == [3]
    assert arrays("STRING", np.array(["é", "b"])).tolist() == ["é".encode(), b"b"]
    assert arrays("STRING", np.array([b"\xff"])).tolist() == [b"\xff"]


def test_numbers_of_which_there_is_one_spelling_are_strings():
    assert arrays("STRING", [7, np.int64(8), 2.5]).tolist() == [b"7", b"8", b"2.5"]


def test_lists_of_several_lengths():
    with pytest.raises(ValueError, match=r"row 1, column c: .* lists of one length.* \[1, 2\]"):
        arrays("FLOAT", [[1, 2], [3]])


def test_unsupported_types():
    with pytest.raises(ValueError, match="type DT_VARIANT is not supported"):
        arrays("VARIANT", [1])


@pytest.mark.parametrize(
    "values",
    [["a", None], ["a", np.nan], pd.Series(["a", pd.NA]), pd.Series(["a", None], dtype=object)],
)
def test_missing_text(values):
    assert arrays("STRING", values).tolist() == [b"a", b""]


@pytest.mark.parametrize(
    "values", [[1, None], (1, np.nan), pd.Series([1, pd.NA], dtype="Int64"), pd.Series([1, np.nan])]
)
def test_missing_floats(values):
    np.testing.assert_array_equal(arrays("FLOAT", values), np.float32([1, np.nan]))


def test_columns_of_pandas():
    categories = pd.Series(["b", "a", None], dtype="category")
    assert arrays("STRING", categories).tolist() == [b"b", b"a", b""]
    assert arrays("STRING", pd.Series([12, None], dtype="Int64")).tolist() == [b"12", b""]
    assert arrays("FLOAT", pd.Series([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[1, 2], [3, 4]]
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="several columns named a"):
        as_columns(frame)


def test_rows():
    with pytest.raises(ValueError, match="row 6: the model has no input for column z"):
        columns_of_rows([{"a": 1}, {"a": 1, "z": 2}], ["a"], first_row=5)
    assert columns_of_rows([{"a": 1, "z": 2}], ["a"], ignore=["z"]) == {"a": [1]}


def test_outputs_as_rows():
    assert to_rows({"y": np.float32([0.1, 1e-9])}, 2) == [0.1, 1e-9]
    several = {"a": np.array([[1, 2], [3, 4]]), "b": np.array(["x", "y"], object)}
    assert to_rows(several, 2) == [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]
    with pytest.raises(ValueError, match=r"output y has shape \[2\] for 3 rows"):
        to_rows({"y": np.zeros(2)}, 3)


def test_outputs_as_a_frame():
    frame = to_frame({"a": np.array([[1, 2], [3, 4]]), "b": np.array([5, 6])}, pd.Index([8, 9]))
    assert frame.a.tolist() == [[1, 2], [3, 4]]
    assert frame.b[9] == 6
