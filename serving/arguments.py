"""Inputs of a signature and the arguments of its loaded function, which may be called otherwise.

TensorFlow makes identifiers of the names of arguments; what it finds in a SavedModel's signatures
may be any string, and is what servers and clients go by. `export` lets both differ where a column
is no identifier. The name of an input's tensor is then still that of its argument.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tensorflow.core.protobuf import meta_graph_pb2


def by_inputs(
    function: Any, signature: str, definition: meta_graph_pb2.SignatureDef
) -> Callable[..., Any]:
    """A loaded signature's function, to be called by the names of its inputs.

    Args:
        function: callable. What TensorFlow has loaded.
        signature: str. The signature's name.
        definition: SignatureDef. As the SavedModel holds it.
    """
    keywords: Mapping[str, Any] = (function.structured_input_signature or ((), {}))[1]
    others = {
        name: info.name.rpartition(":")[0].removeprefix(f"{signature}_")
        for name, info in definition.inputs.items()
        if name not in keywords
    }
    arguments = {name: argument for name, argument in others.items() if argument in keywords}
    if not arguments and "self" not in keywords:
        return function  # type: ignore[no-any-return]

    def call(**inputs: Any) -> Any:
        named = {arguments.get(name, name): value for name, value in inputs.items()}
        if "self" in named:  # which calling has a parameter for
            return function._call_impl((), named)
        return function(**named)

    return call
