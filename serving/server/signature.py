"""A signature of a loaded SavedModel: what it takes, what it gives, and how to run it fast."""

import collections
from collections.abc import Callable, Container, Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.codes import Code, StatusError, invalid_argument
from serving.server.errors import as_status_error
from serving.tensors import to_array, type_name
from serving.types import Array, Arrays, DTypes, Run

Outputs = dict[str, tf.Tensor]

DEFAULT_SIGNATURE = "serving_default"
# TensorFlow spends some 50 microseconds of Python on every tensor that is made and passed, which
# for the 39 columns of a click log is several times the work of the model itself. From this many
# inputs of one type and shape, they are stacked into one tensor, which the graph takes apart again.
_MIN_PACKED = 4


class SignatureRunner:
    """Runs one signature on NumPy arrays; safe to be called from several threads.

    Args:
        definition: SignatureDef. As the SavedModel holds it.
        function: callable. The loaded signature: tensors by input name to tensors by output name.
        through: callable or None. Takes a function from inputs to outputs, which runs one request,
            and returns the one that `run` calls, such as a queue that joins requests. None: each
            request runs alone.

    Attributes:
        inputs: dict. Input name to `DataType` enum value, names sorted.
        outputs: dict. Output name to `DataType` enum value, names sorted.
        defaults: dict. Input name to the array that stands in when the input is not sent.
        method_name: str. What the SavedModel says that the signature is for.

    Example:

    >>> with manager.lease("times_two") as servable:
    ...     servable.signature("").run({"x": np.float32([1.0])})
    {'y': array([2.], dtype=float32)}
    """

    def __init__(
        self,
        definition: meta_graph_pb2.SignatureDef,
        function: Callable[..., Outputs],
        through: Callable[[Run], Run] | None = None,
    ):
        self.inputs = {name: definition.inputs[name].dtype for name in sorted(definition.inputs)}
        self.outputs = {name: definition.outputs[name].dtype for name in sorted(definition.outputs)}
        self.defaults = {name: to_array(proto) for name, proto in definition.defaults.items()}
        self.method_name = definition.method_name
        self._function = function
        self._groups = _groups(definition)
        self._packed = _packed(function, self._groups, self.inputs) if self._groups else None
        self._joins = through is not None
        self._run = through(self._run_alone) if through else self._run_alone

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the signature on an array for every input that has no default, or is not to have it;
        a string scalar that comes out is bytes.

        Raises:
            StatusError: with the model's own code and message when it refuses the inputs.
        """
        if len(inputs) < len(self.inputs):
            inputs = self._defaults_for(inputs) | inputs
        return self._run(inputs)

    def _defaults_for(self, inputs: Arrays) -> Arrays:
        """The defaults. What is joined with other requests has to have the rows of its own, to
        which the graph repeats the one of a default only afterwards."""
        sizes = {len(array) for array in inputs.values() if array.shape}
        if not self._joins or len(sizes) != 1:
            return self.defaults
        (size,) = sizes
        return {
            name: np.repeat(array, size, axis=0) if array.shape[:1] == (1,) else array
            for name, array in self.defaults.items()
        }

    def _run_alone(self, inputs: Arrays) -> Arrays:
        try:
            if self._packed and self._packs(inputs):
                outputs = self._packed(*self._pack(inputs))
            else:
                outputs = self._function(**{k: self._tensor(k, v) for k, v in inputs.items()})
            return {name: _array(name, outputs[name]) for name in self.outputs}
        except (TypeError, ValueError, IndexError) as error:  # NumPy has the last for dimensions
            raise invalid_argument(str(error)) from error
        except tf.errors.OpError as error:
            raise as_status_error(error) from error

    def check(self, dtypes: DTypes) -> None:
        """Checks what a client sent by name and type, before any of it is unpacked.

        Raises:
            StatusError: INVALID_ARGUMENT in TensorFlow Serving's words.
        """
        if dtypes == self.inputs:
            return
        sent, known = sorted(dtypes), list(self.inputs)
        if len(sent) > len(known) or (len(sent) < len(known) and not self.defaults):
            raise invalid_argument(
                f"input size does not match signature: {len(sent)}!={len(known)} "
                f"len({{{','.join(sent)}}}) != len({{{','.join(known)}}}). "
                f"Sent extra: {{{_less(sent, known)}}}. "
                f"Missing but required: {{{_less(known, sent)}}}."
            )
        for name in known:
            if name not in dtypes and name not in self.defaults:
                raise invalid_argument(
                    f"Signature input alias: {name} not found in request and no default value "
                    f"provided. Inputs expected to be in the request {{{','.join(sent)}}}, or "
                    f"default input alias set: {','.join(sorted(self.defaults))}"
                )
        if extra := _less(sent, known):
            raise invalid_argument(f"Inputs contains invalid name: {extra}")
        for position, (name, wanted) in enumerate(self.inputs.items()):
            got = dtypes.get(name, wanted)
            if got != wanted:
                raise invalid_argument(
                    f"Expects arg[{position}] to be {type_name(wanted)} "
                    f"but {type_name(got)} is provided"
                )

    def _packs(self, inputs: Arrays) -> bool:
        return all(len({inputs[name].shape for name in names}) == 1 for names in self._groups)

    def _pack(self, inputs: Arrays) -> list[tf.Tensor]:
        return [
            self._tensor(names[0], np.stack([inputs[name] for name in names]))
            for names in self._groups
        ]

    def _tensor(self, name: str, array: Array) -> tf.Tensor:
        return tf.constant(array, self.inputs[name])  # an empty array of strings needs the type


def _array(name: str, output: tf.Tensor) -> Array:
    if not isinstance(output, tf.Tensor):
        kind = type(output).__name__
        raise StatusError(
            Code.UNIMPLEMENTED, f"Output {name} is a {kind}, which answers cannot hold"
        )
    return output.numpy()  # type: ignore[no-any-return]


def _less(names: Iterable[str], other: Container[str]) -> str:
    return ",".join(name for name in names if name not in other)


def _groups(definition: meta_graph_pb2.SignatureDef) -> list[list[str]]:
    """Input names by type and declared shape, or none where packing would not pay."""
    groups = collections.defaultdict(list)
    for name, info in sorted(definition.inputs.items()):
        groups[info.dtype, info.tensor_shape.SerializeToString()].append(name)
    packable = max(map(len, groups.values()), default=0) >= _MIN_PACKED
    opaque = {dtype for dtype, _ in groups} & {types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT}
    return list(groups.values()) if packable and not opaque else []


def _packed(
    function: Callable[..., Outputs], groups: list[list[str]], dtypes: DTypes
) -> Callable[..., Outputs]:
    """A graph that takes one stacked tensor per group and calls `function` with its parts."""

    @tf.function(autograph=False)
    def unpack_and_call(*stacks: tf.Tensor) -> Outputs:
        inputs: dict[str, tf.Tensor] = {}
        for names, stack in zip(groups, stacks, strict=True):
            inputs.update(zip(names, tf.unstack(stack, num=len(names)), strict=True))
        return function(**inputs)

    specs = (tf.TensorSpec(None, dtypes[names[0]]) for names in groups)
    graph: Callable[..., Outputs] = unpack_and_call.get_concrete_function(*specs)
    return graph
