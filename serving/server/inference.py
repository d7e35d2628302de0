"""Inference as functions from request proto to response proto; gRPC, REST and warm-up call them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.codes import Code, StatusError, invalid_argument
from serving.server.savedmodel import Servable
from serving.server.signature import DEFAULT_SIGNATURE, SignatureRunner
from serving.tensors import bytes_array, to_array, to_proto
from serving.types import Array, Arrays

ExamplesRequest: TypeAlias = (
    classification_pb2.ClassificationRequest | regression_pb2.RegressionRequest
)

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_INPUTS, _CLASSES, _SCORES, _OUTPUTS = "inputs", "classes", "scores", "outputs"


def predict(
    servable: Servable, request: predict_pb2.PredictRequest, as_content: bool = False
) -> predict_pb2.PredictResponse:
    """Answers a Predict call with the resolved signature name and version.

    The request's model name is repeated, not looked up.

    Raises:
        StatusError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for wrong
            inputs or output filters, or what the model itself says.

    Example:

    >>> request = predict_pb2.PredictRequest()
    >>> request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    >>> with manager.lease("times_two") as servable:
    ...     predict(servable, request).outputs["y"].float_val
    [2.0]
    """
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signature(name)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    signature.check({alias: proto.dtype for alias, proto in request.inputs.items()})
    outputs = _filtered(signature, request.output_filter)
    arrays = signature.run(_arrays(request.inputs))

    response = predict_pb2.PredictResponse()
    _fill_spec(response.model_spec, servable, request)
    for alias in outputs:
        dtype = signature.outputs[alias]
        response.outputs[alias].CopyFrom(to_proto(arrays[alias], dtype, as_content))
    return response


def classify(
    servable: Servable, request: classification_pb2.ClassificationRequest
) -> classification_pb2.ClassificationResponse:
    """Answers a Classify call: labels and scores for each `tf.train.Example`.

    Raises:
        StatusError: INVALID_ARGUMENT for an unknown or unfit signature or an empty input, or what
            the model itself says.
    """
    response = classification_pb2.ClassificationResponse()
    response.result.CopyFrom(_classified(servable, request))
    _fill_spec(response.model_spec, servable, request)
    return response


def regress(
    servable: Servable, request: regression_pb2.RegressionRequest
) -> regression_pb2.RegressionResponse:
    """Answers a Regress call: one value for each `tf.train.Example`; fails as `classify`."""
    response = regression_pb2.RegressionResponse()
    response.result.CopyFrom(_regressed(servable, request))
    _fill_spec(response.model_spec, servable, request)
    return response


def multi_inference(
    servable: Servable, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """Answers a MultiInference call: several signatures over one input, one result a task.

    Raises:
        StatusError: UNIMPLEMENTED for a method other than classify and regress, else as `classify`.
    """
    response = inference_pb2.MultiInferenceResponse()
    seen: set[str] = set()
    for task in request.tasks:
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        name = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in servable.signature_defs:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if name in seen:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        seen.add(name)
        asked = classification_pb2.ClassificationRequest(  # a regression's has the same fields
            model_spec=task.model_spec, input=request.input
        )
        result = response.results.add()
        if task.method_name == CLASSIFY_METHOD:
            result.classification_result.CopyFrom(_classified(servable, asked))
        elif task.method_name == REGRESS_METHOD:
            result.regression_result.CopyFrom(_regressed(servable, asked))
        else:
            raise StatusError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
            )
        _fill_spec(result.model_spec, servable, task)
    return response


def first_task(request: inference_pb2.MultiInferenceRequest) -> inference_pb2.InferenceTask:
    """The task whose ModelSpec chooses the servable."""
    if not request.tasks:
        raise invalid_argument("Inference request must have at least one task")
    return request.tasks[0]


def example_count(request: ExamplesRequest | inference_pb2.MultiInferenceRequest) -> int:
    """How many examples a classify, regress or multi-inference request carries."""
    kind = request.input.WhichOneof("kind")
    return len(getattr(request.input, kind).examples) if kind else 0


def _fill_spec(spec: model_pb2.ModelSpec, servable: Servable, request: Any) -> None:
    spec.name = request.model_spec.name
    spec.signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    spec.version.value = servable.version


# Predict


def _arrays(protos: Mapping[str, tensor_pb2.TensorProto]) -> Arrays:
    arrays = {}
    for alias, proto in protos.items():
        try:
            arrays[alias] = to_array(proto)
        except StatusError as error:
            raise StatusError(
                error.code, f"tensor parsing error: {alias}: {error.message}"
            ) from error
    return arrays


def _filtered(signature: SignatureRunner, wanted: Sequence[str]) -> Iterable[str]:
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        if alias in wanted[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted or signature.outputs


# Classify and regress


def _classified(
    servable: Servable, request: ExamplesRequest
) -> classification_pb2.ClassificationResult:
    signature = _of_examples(servable, request, CLASSIFY_METHOD)
    given = signature.outputs.keys()
    if not given <= {_CLASSES, _SCORES} or not given:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores", and nothing else. Signature was: {sorted(given)}'
        )
    outputs, size = _run(signature, request)
    found = {
        name: _checked(outputs[name], signature, name, dtype, size)
        for name, dtype in ((_CLASSES, types_pb2.DT_STRING), (_SCORES, types_pb2.DT_FLOAT))
        if name in outputs
    }
    shape = next(iter(found.values())).shape  # of both, if there is only one
    classes = found.get(_CLASSES, np.full(shape, b"", object))
    scores = found.get(_SCORES, np.zeros(shape, np.float32))
    if classes.shape != scores.shape:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for labels, values in zip(classes.tolist(), scores.tolist(), strict=True):
        row = result.classifications.add()
        for label, value in zip(labels, values, strict=True):
            row.classes.add(label=label.decode("utf-8", "replace"), score=value)
    return result


def _regressed(servable: Servable, request: ExamplesRequest) -> regression_pb2.RegressionResult:
    signature = _of_examples(servable, request, REGRESS_METHOD)
    if list(signature.outputs) != [_OUTPUTS]:
        raise invalid_argument(
            f"Expected one output Tensor, named outputs. Found {list(signature.outputs)}"
        )
    outputs, size = _run(signature, request)
    values = np.asarray(outputs[_OUTPUTS])
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(values.shape)}"
        )
    if len(values) != size:
        raise invalid_argument(f"Expected output batch size to be {size} but got {len(values)}")
    _check_dtype(_OUTPUTS, signature, types_pb2.DT_FLOAT)
    result = regression_pb2.RegressionResult()
    for value in values.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result


def _of_examples(servable: Servable, request: ExamplesRequest, method: str) -> SignatureRunner:
    """The signature that a request names, if it takes examples."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = servable.signature(name)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {name}")
    if servable.checks_method_names and signature.method_name != method:
        kind = "classification" if method == CLASSIFY_METHOD else "regression"
        raise invalid_argument(
            f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
        )
    if list(signature.inputs) != [_INPUTS]:
        raise invalid_argument(
            f"Expected one input Tensor, named inputs. Found {list(signature.inputs)}"
        )
    return signature


def _run(signature: SignatureRunner, request: ExamplesRequest) -> tuple[Arrays, int]:
    examples = _examples(request.input)
    if not examples:
        raise invalid_argument("Input is empty.")
    signature.check({_INPUTS: types_pb2.DT_STRING})
    return signature.run({_INPUTS: bytes_array(examples)}), len(examples)


def _examples(given: input_pb2.Input) -> list[bytes]:
    """Serialized examples, each with the context in it; of two equal features its own counts."""
    if given.WhichOneof("kind") != "example_list_with_context":
        return [example.SerializeToString() for example in given.example_list.examples]
    merged = []
    for example in given.example_list_with_context.examples:
        both = tf.train.Example()
        both.CopyFrom(given.example_list_with_context.context)
        for name, feature in example.features.feature.items():
            both.features.feature[name].CopyFrom(feature)
        merged.append(both.SerializeToString())
    return merged


def _checked(output: Array, signature: SignatureRunner, name: str, dtype: int, size: int) -> Array:
    """One of a classifier's outputs, [batch, classes]."""
    array = np.asarray(output)
    if array.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}"
        )
    _check_dtype(name, signature, dtype)
    if len(array) != size:
        raise invalid_argument(f"Expected {name} output batch size of {size}. Got: {len(array)}")
    return array


def _check_dtype(name: str, signature: SignatureRunner, dtype: int) -> None:
    if signature.outputs[name] != dtype:
        wanted, got = map(types_pb2.DataType.Name, (dtype, signature.outputs[name]))
        raise invalid_argument(f"Expected {name} Tensor of {wanted}. Got: {got}")


# The kind of a warm-up record to what replays its request.
REPLAYED: dict[str, Callable[[Servable, Any], Any]] = {
    "predict_log": predict,
    "classify_log": classify,
    "regress_log": regress,
    "multi_inference_log": multi_inference,
}
