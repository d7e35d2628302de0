"""Predict as a function from request proto to response proto; gRPC and warm-up both call it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.errors import Code, StatusError, invalid_argument
from serving.savedmodel import Servable
from serving.signature import DEFAULT_SIGNATURE, Signature
from serving.tensors import to_array, to_proto


def predict(servable: Servable, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
    """Answers a Predict call.

    Args:
        servable: Servable. The model version that answers.
        request: PredictRequest. Its model name is repeated, not looked up.

    Returns:
        PredictResponse, with the resolved signature name and version.

    Raises:
        StatusError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for wrong
            inputs or output filters, or what the model itself says.

    Example:

    >>> request = predict_pb2.PredictRequest()                       # doctest: +SKIP
    >>> request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))     # doctest: +SKIP
    >>> predict(servable, request).outputs["y"].float_val             # doctest: +SKIP
    [2.0]
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signature(name)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature.check({alias: proto.dtype for alias, proto in request.inputs.items()})
    outputs = _filtered(signature, request.output_filter)
    arrays = signature.run(signature.defaults | _arrays(request.inputs))

    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.signature_name = name
    response.model_spec.version.value = servable.version
    for alias in outputs:
        response.outputs[alias].CopyFrom(to_proto(arrays[alias], signature.outputs[alias]))
    return response


def _arrays(protos: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, np.ndarray]:
    arrays = {}
    for alias, proto in protos.items():
        try:
            arrays[alias] = to_array(proto)
        except StatusError as error:
            raise StatusError(
                error.code, f"tensor parsing error: {alias}: {error.message}"
            ) from error
    return arrays


def _filtered(signature: Signature, wanted: Sequence[str]) -> Iterable[str]:
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        if alias in wanted[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs
