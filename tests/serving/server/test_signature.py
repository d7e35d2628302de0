"""Inputs of one type and shape are handed to the graph as one tensor."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.codes import Code, StatusError
from serving.server.signature import SignatureRunner
from serving.tensors import MAX_RANK

NAMES = "abcde"


@pytest.fixture(scope="module")
def joined():
    """A signature that joins five strings."""
    definition = meta_graph_pb2.SignatureDef()
    for name in NAMES:
        definition.inputs[name].dtype = types_pb2.DT_STRING
    definition.outputs["y"].dtype = types_pb2.DT_STRING

    def join(**strings):
        return {"y": tf.strings.join([strings[name] for name in NAMES])}

    return SignatureRunner(definition, join)


def strings(*shape):
    return {name: np.full(shape, name.encode(), object) for name in NAMES}


@pytest.mark.parametrize("shape", [(1,), (3,), (0,), (2, 3)])
def test_inputs_of_one_shape_reach_the_graph_by_name(joined, shape):
    assert joined.run(strings(*shape))["y"].tolist() == np.full(shape, b"abcde", object).tolist()


def test_scalars_reach_the_graph_by_name(joined):
    assert joined.run(strings())["y"] == b"abcde"


def test_inputs_of_more_dimensions_than_can_be_packed_are_the_client_s_fault(joined):
    with pytest.raises(StatusError) as raised:
        joined.run(strings(*[1] * MAX_RANK))
    assert raised.value.code == Code.INVALID_ARGUMENT
