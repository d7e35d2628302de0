"""Predict's answers: brackets, names and batches."""

import itertools
import json

import numpy as np
import pytest
from tensorflow.core.framework import types_pb2

from serving.codes import Code, StatusError
from serving.server.rest.responses import write_outputs

FLOAT, INT = types_pb2.DT_FLOAT, types_pb2.DT_INT32
SHAPES = [s for rank in range(4) for s in itertools.product((0, 1, 2, 3), repeat=rank)]


def counted(shape):
    return np.arange(np.prod(shape, dtype=int), dtype="int32").reshape(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_output_stands_for_itself(shape):
    array = counted(shape)
    expected = json.dumps(array.tolist())
    assert write_outputs({"y": array}, {"y": INT}, False) == f'{{"outputs": {expected}}}'
    if shape:
        assert write_outputs({"y": array}, {"y": INT}, True) == f'{{"predictions": {expected}}}'


def test_several_outputs_are_named():
    arrays = {'a"': counted((2, 2)), "b": np.float32([0.5, 1])}
    dtypes = {'a"': INT, "b": FLOAT}
    assert write_outputs(arrays, dtypes, True) == (
        '{"predictions": [{"a\\"": [0, 1], "b": 0.5}, {"a\\"": [2, 3], "b": 1.0}]}'
    )
    assert write_outputs(arrays, dtypes, False) == (
        '{"outputs": {"a\\"": [[0, 1], [2, 3]], "b": [0.5, 1.0]}}'
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "Cannot convert empty tensor map to JSON"),
        ({"a": counted((1,)), "b": counted(())}, "Tensor name: b has no shape information "),
        (
            {"a": counted((2,)), "b": counted((2, 3)), "c": counted((1, 2))},
            "Tensor name: c has inconsistent batch size: 1 expecting: 2",
        ),
        (
            {"a": counted((0,)), "b": counted((1,))},
            "Tensor name: b has inconsistent batch size: 1 expecting: 0",
        ),
    ],
)
def test_what_has_no_rows_is_refused(arrays, message):
    dtypes = dict.fromkeys(arrays, INT)
    with pytest.raises(StatusError) as raised:
        write_outputs(arrays, dtypes, True)
    assert (raised.value.code, raised.value.message) == (Code.INVALID_ARGUMENT, message)
    if arrays:
        assert write_outputs(arrays, dtypes, False).startswith('{"outputs": {"a": ')
