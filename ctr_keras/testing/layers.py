"""The one test that every layer passes."""

import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

Reference = Callable[[dict[str, Any], Any], Any]
_OPTIMIZER_STEP = 0.5
_DIFFERENCE = 1e-5  # step of a finite difference in float64
_DIRECTIONS = 3  # random directions in which a gradient is compared


def run_layer_test(
    layer_class: type[Any],
    arguments: Mapping[str, Any],
    inputs: Any,
    *,
    weight_shapes: Mapping[str, tuple[int, ...]],
    reference: Reference,
    bad_shapes: Sequence[Any] = (),
    field_axis: int | None = None,
    equivariant: bool = False,
    compare_xla: bool = True,
    tolerance: float = 1e-5,
) -> None:
    """Asserts eleven things that a layer must hold, on TensorFlow or JAX.

    1. The config, through JSON, gives an equal layer and has every argument of the constructor.
    2. `build` alone makes all weights, those of children included; those that one initializer draws
       differ.
    3. A symbolic call, `compute_output_shape` and `compute_output_spec` agree with a real one.
    4. An eager call gives the reference's numbers, and, in float64, its gradients with respect to
       every weight and input are the reference's finite differences.
    5. A compiled training step works, with XLA and without, and both have the same loss. (What JAX
       runs without XLA is a forward pass, one operation after the other.)
    6. In float16 and bfloat16 (on JAX compiled) the output has that type, weights stay float32,
       nothing is NaN.
    7. A saved model loads equal, and so do weights loaded into a model that was only built.
    8. An exported SavedModel gives equal outputs (where Keras runs on TensorFlow).
    9. A masked field has no say; permuted fields permute the output; gradients reach every weight.
    10. Batches of one row and of any number, and one field, work; wrong shapes are refused.
    11. With int8 for what can be quantized the output is close, and a copy by config takes its
        weights and gives the same.

    Args:
        layer_class: type. The layer.
        arguments: dict. Of its constructor. Dropout must be off; values other than the defaults
            make point 1 worth more.
        inputs: what the layer is called with: an array, a dict or a list of arrays, or, for a layer
            with several arguments, a tuple of arrays. At least two rows.
        weight_shapes: dict. Shape of each weight by its path in the layer, such as
            `"query/kernel"`.
        reference: function of (weights by path, inputs) to the expected output, written in NumPy.
            Both come as float64 where they are floats.
        bad_shapes: list. Input shapes that `build` must refuse with a `ValueError` that says what
            it received; tuples of shapes for a layer with several arguments. Defaults to `()`.
        field_axis: int or None. Axis of inputs and output along which fields can be left out.
            Defaults to `None`: there is none, so points 9 and 10 skip fields.
        equivariant: bool. Whether a permutation along `field_axis` must permute the output.
            Defaults to `False`.
        compare_xla: bool. Whether point 5 compares a step with XLA to one without; XLA takes half
            the time of the whole test, so one case of a layer may do for several. Without the
            comparison there is one step: with XLA on JAX, a graph on TensorFlow.
            Defaults to `True`.
        tolerance: float. Absolute and relative, of float32 values. Defaults to `1e-05`.

    Raises:
        AssertionError: naming the point that does not hold.

    Example:

    >>> def normalized(weights, inputs):
    ...     centered = inputs - inputs.mean(axis=-1, keepdims=True)
    ...     spread = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-3)
    ...     return centered / spread * weights["gamma"] + weights["beta"]
    >>> run_layer_test(
    ...     keras.layers.LayerNormalization,
    ...     {"beta_initializer": "ones"},
    ...     np.random.default_rng(0).normal(size=(2, 5)).astype("float32"),
    ...     weight_shapes={"gamma": (5,), "beta": (5,)},
    ...     reference=normalized,
    ... )
    """
    case = _Case(layer_class, dict(arguments), inputs, reference, field_axis, tolerance)
    _check_config(case)
    _check_build(case, dict(weight_shapes))
    _check_shapes(case)
    _check_values(case)
    _check_differences(case)
    trained = _check_training_step(case, compare_xla)
    _check_half_precision(case)
    _check_saving(case)
    _check_export(case)
    _check_mask(case)
    if equivariant:
        _check_permutation(case)
    _check_gradients(case, trained)
    _check_sizes(case)
    _check_bad_shapes(case, bad_shapes)
    if compare_xla:
        _check_quantized(case)


@dataclasses.dataclass(frozen=True)
class _Case:
    layer_class: type[Any]
    arguments: dict[str, Any]
    inputs: Any
    reference: Reference
    field_axis: int | None
    tolerance: float

    def layer(self, **more: Any) -> Any:
        """A new layer; all of them have the same weights."""
        keras.utils.set_random_seed(7)
        return self.layer_class(**{"name": "layer", **self.arguments, **more})

    def call(self, layer: Any, inputs: Any, **options: Any) -> Any:
        return layer(*inputs, **options) if isinstance(inputs, tuple) else layer(inputs, **options)

    def with_shapes(self, method: Any, shapes: Any = None) -> Any:
        """The result of `build` or `compute_output_shape`, by default for the inputs' shapes."""
        shapes = _shapes(self.inputs) if shapes is None else shapes
        return method(*shapes) if isinstance(self.inputs, tuple) else method(shapes)

    def model(self, **more: Any) -> Any:
        inputs = _symbolic(self.inputs)
        return keras.Model(_as_list(inputs), self.call(self.layer(**more), inputs))

    @functools.cached_property
    def built(self) -> Any:
        """One layer for all checks that leave it as it is."""
        layer = self.layer()
        self.with_shapes(layer.build)
        return layer

    @functools.cached_property
    def functional(self) -> Any:
        """One model for all checks that leave it as it is."""
        return self.model()

    @functools.cached_property
    def output(self) -> Any:
        return _to_numpy(self.call(self.built, self.inputs))

    def expected(self, layer: Any, inputs: Any) -> Any:
        return self.reference(_wide_weights(layer), _map(_widened, inputs))

    def assert_close(self, actual: Any, expected: Any, point: str) -> None:
        np.testing.assert_allclose(
            _to_numpy(actual), expected, self.tolerance, self.tolerance, err_msg=point
        )


def _check_config(case: _Case) -> None:
    layer = case.layer()
    config = layer.get_config()
    missing = [name for name in _constructor_arguments(case.layer_class) if name not in config]
    assert not missing, f"1. get_config leaves out {missing}"
    again = case.layer_class.from_config(json.loads(json.dumps(config)))
    assert _plain(again.get_config()) == _plain(config), "1. the config changes on the way back"
    as_object = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(as_object) is case.layer_class, "1. the layer does not serialize as itself"


def _by_one_program(case: _Case, layer: Any, inputs: Any) -> Any:
    """A call; on JAX, which compiles each operation of an eager one by itself, a compiled one."""
    if keras.backend.backend() != "jax":
        return case.call(layer, inputs)
    import jax

    if not layer.built:
        case.with_shapes(layer.build, _shapes(inputs))

    def program(values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(zip(layer.variables, values, strict=True)):
            return case.call(layer, inputs)

    return jax.jit(program)([variable.value for variable in layer.variables], inputs)


def _predicted(model: Any, inputs: Any) -> Any:
    """What a model gives; on JAX by one program."""
    is_jax = keras.backend.backend() == "jax"
    return model.predict_on_batch(inputs) if is_jax else model(inputs)


def _check_build(case: _Case, weight_shapes: dict[str, tuple[int, ...]]) -> None:
    layer = case.layer()
    case.with_shapes(layer.build)
    assert layer.built, "2. build does not set `built`"
    shapes = {_path(weight): tuple(weight.shape) for weight in layer.weights}
    assert shapes == weight_shapes, f"2. weights after build: {shapes}, not {weight_shapes}"
    case.call(layer, case.inputs)
    assert len(layer.weights) == len(shapes), "2. the first call makes weights; build should"
    if "kernel_initializer" in _constructor_arguments(case.layer_class):
        _check_drawn_apart(case)


def _check_drawn_apart(case: _Case) -> None:
    """Keras' initializers give the same numbers at each call, so that each weight needs a copy."""
    layer = case.layer(kernel_initializer="glorot_uniform")
    case.with_shapes(layer.build)
    drawn = [(_path(weight), keras.ops.convert_to_numpy(weight)) for weight in layer.weights]
    random = [(path, values) for path, values in drawn if len(np.unique(values)) > 1]
    for (path, values), (other, others) in itertools.combinations(random, 2):
        assert not np.array_equal(values, others), f"2. {path} and {other} are drawn equal"


def _check_shapes(case: _Case) -> None:
    layer, output = case.built, case.output
    symbolic = case.call(layer, _symbolic(case.inputs))
    spec = case.call(layer.compute_output_spec, _symbolic(case.inputs))
    assert tuple(case.with_shapes(layer.compute_output_shape)) == tuple(output.shape), (
        "3. compute_output_shape is not the shape of a call"
    )
    for tensor in (symbolic, spec):
        assert tuple(tensor.shape) == (None, *output.shape[1:]), "3. shape of a symbolic call"
        assert _dtype(tensor) == _dtype(output), "3. dtype of a symbolic call"


def _check_values(case: _Case) -> None:
    case.assert_close(case.output, case.expected(case.built, case.inputs), "4. values")


def _check_differences(case: _Case) -> None:
    draw = np.random.default_rng(0)
    with _float64():
        layer = case.layer(dtype="float64")
        inputs = _map(_widened, case.inputs)
        case.with_shapes(layer.build)
        seed = draw.normal(size=case.with_shapes(layer.compute_output_shape))
        weight_gradients, input_gradients = _gradients(case, layer, inputs, seed)
        weights = _wide_weights(layer)

    def compare(tensors: dict[Any, Any], gradients: dict[Any, Any], total: Any) -> None:
        for key, gradient in gradients.items():
            for _ in range(_DIRECTIONS):
                step = _DIFFERENCE * draw.normal(size=gradient.shape)
                ends = [total(tensors | {key: tensors[key] + sign * step}) for sign in (1, -1)]
                difference, expected = ends[0] - ends[1], 2 * (gradient * step).sum()
                scale = 2 * np.abs(gradient * step).sum() + _DIFFERENCE**2
                assert abs(difference - expected) <= 1e-4 * scale, f"4. gradient of {key}"

    leaves = dict(enumerate(keras.tree.flatten(inputs)))
    pack = keras.tree.pack_sequence_as
    compare(weights, weight_gradients, lambda w: (case.reference(w, inputs) * seed).sum())
    compare(
        leaves,
        input_gradients,
        lambda x: (case.reference(weights, pack(inputs, [*x.values()])) * seed).sum(),
    )


def _gradients(case: _Case, layer: Any, inputs: Any, seed: Any) -> tuple[Any, Any]:
    """Gradients of `sum(output * seed)`, by weight path and by position of the input."""
    names = [_path(weight) for weight in layer.trainable_weights]
    leaves = keras.tree.flatten(inputs)
    floats = [position for position, leaf in enumerate(leaves) if _is_float(leaf)]

    def packed(values: Sequence[Any]) -> Any:
        given = dict(zip(floats, values, strict=True))
        return keras.tree.pack_sequence_as(inputs, [given.get(i, x) for i, x in enumerate(leaves)])

    values = [keras.ops.convert_to_tensor(leaves[position]) for position in floats]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            total = keras.ops.sum(case.call(layer, packed(values)) * seed)
        sources = [weight.value for weight in layer.trainable_weights], values
        parts = tape.gradient(total, sources, unconnected_gradients="zero")
        parts = _map(tf.convert_to_tensor, parts)  # a table's gradient comes as slices
    elif keras.backend.backend() == "torch":
        import torch  # type: ignore[import-not-found]

        weights = [weight.value for weight in layer.trainable_weights]
        values = [value.requires_grad_() for value in values]
        total = keras.ops.sum(keras.ops.multiply(case.call(layer, packed(values)), seed))
        found = torch.autograd.grad(
            total, [*weights, *values], allow_unused=True, materialize_grads=True
        )
        parts = found[: len(weights)], found[len(weights) :]
    else:
        import jax

        fixed = [variable.value for variable in layer.non_trainable_variables]

        def total_of(weights: Any, values: Any) -> Any:
            arguments = packed(values)
            arguments = arguments if isinstance(arguments, tuple) else (arguments,)
            return (layer.stateless_call(weights, fixed, *arguments)[0] * seed).sum()

        weights = [weight.value for weight in layer.trainable_weights]
        parts = jax.jit(jax.grad(total_of, argnums=(0, 1)))(weights, values)
    of_weights, of_inputs = ([_to_numpy(part) for part in group] for group in parts)
    return dict(zip(names, of_weights, strict=True)), dict(zip(floats, of_inputs, strict=True))


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Where JAX has to be asked for float64, it is."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield


def _check_training_step(case: _Case, compare_xla: bool) -> Any:
    on_jax = keras.backend.backend() == "jax"
    trained, loss = _trained(case, jit_compile=on_jax)
    assert np.isfinite(loss), f"5. loss of a training step: {loss}"
    if compare_xla and keras.backend.backend() != "torch":  # which has no XLA
        other = _forward_loss(case) if on_jax else _trained(case, jit_compile=True)[1]
        np.testing.assert_allclose(loss, other, rtol=1e-4, err_msg="5. XLA changes the loss")
    return trained


def _check_half_precision(case: _Case) -> None:
    for dtype in ("float16", "bfloat16"):
        layer = case.layer(dtype=f"mixed_{dtype}")
        if dtype == "bfloat16":
            output = _by_one_program(case, layer, case.inputs)
        else:  # JAX cannot compile Keras' attention in float16 for CPUs
            output = case.call(layer, case.inputs)
        assert _dtype(output) == dtype, f"6. output is {_dtype(output)} in mixed_{dtype}"
        assert {_dtype(w) for w in layer.trainable_weights} <= {"float32"}, "6. weights' dtype"
        values = _to_numpy(keras.ops.cast(output, "float32"))
        assert np.isfinite(values).all(), f"6. not finite in mixed_{dtype}"
        expected = case.expected(layer, case.inputs)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(values, expected, 0.05, 0.05 * scale, err_msg=f"6. {dtype}")


def _check_saving(case: _Case) -> None:
    inputs, expected = _as_list(case.inputs), case.output
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        case.functional.save(path)
        loaded = keras.saving.load_model(path)
        case.assert_close(loaded(inputs), expected, "7. saved and loaded")

        path = os.path.join(folder, "only.weights.h5")
        saved = _Wrapper(case, case.layer())
        saved(inputs)
        saved.save_weights(path)
        keras.utils.set_random_seed(8)
        only_built = _Wrapper(case, case.layer_class(**{**case.arguments, "name": "layer"}))
        only_built.build(_shapes(case.inputs))
        only_built.load_weights(path)
        case.assert_close(only_built(inputs), expected, "7. weights loaded before any call")


def _check_export(case: _Case) -> None:
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        case.functional.export(folder, verbose=False)
        artifact = tf.saved_model.load(folder)  # owns the variables: keep it while it serves
        served = artifact.serve(_map(tf.constant, _as_list(case.inputs)))
    np.testing.assert_allclose(served, case.output, 1e-6, 1e-6, err_msg="8. exported")


def _check_mask(case: _Case) -> None:
    takes_mask = "mask" in inspect.signature(case.layer_class.call).parameters
    if not takes_mask or case.field_axis is None:
        return
    layer = case.built
    fields = case.inputs.shape[case.field_axis]
    mask = np.ones(case.inputs.shape[: case.field_axis + 1], bool)
    mask[..., fields // 2] = False
    kept = np.delete(np.arange(fields), fields // 2)
    output = _to_numpy(layer(case.inputs, mask=mask))
    without = _by_one_program(case, layer, np.take(case.inputs, kept, case.field_axis))
    case.assert_close(np.take(output, kept, case.field_axis), without, "9. a masked field matters")
    masked = np.take(output, [fields // 2], case.field_axis)
    assert not masked.any(), "9. a masked field's own output is not zero"


def _check_permutation(case: _Case) -> None:
    order = np.random.default_rng(1).permutation(case.inputs.shape[case.field_axis])
    expected = np.take(case.output, order, case.field_axis)
    output = case.built(np.take(case.inputs, order, case.field_axis))
    case.assert_close(output, expected, "9. permuted fields")


def _check_gradients(case: _Case, trained: Any) -> None:
    before = case.functional.trainable_weights
    for old, new in zip(before, trained.trainable_weights, strict=True):
        changed = _to_numpy(old) != _to_numpy(new)
        assert changed.any(), f"9. no gradient reaches {new.path}"


def _check_sizes(case: _Case) -> None:
    one_row = _map(lambda array: array[:1], _as_list(case.inputs))
    output = _predicted(case.functional, one_row)
    case.assert_close(output, case.output[:1], "10. a batch of one row")
    if case.field_axis is not None:
        one_field = np.take(case.inputs, [0], case.field_axis)
        layer = case.layer()
        output = _by_one_program(case, layer, one_field)
        case.assert_close(output, case.expected(layer, one_field), "10. one field")


def _check_bad_shapes(case: _Case, bad_shapes: Sequence[Any]) -> None:
    for shape in bad_shapes:
        message = _refusal(case, shape)
        assert message is not None, f"10. the input shape {shape} is not refused"
        assert "Received" in message, f"10. the error on {shape} hides it: {message}"


def _check_quantized(case: _Case) -> None:
    model = case.model()
    inputs = _as_list(case.inputs)
    expected = case.output
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each layer that has nothing to quantize
        model.quantize("int8")
    if all(_dtype(weight) != "int8" for weight in model.weights):
        return
    output = _to_numpy(_predicted(model, inputs))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(output, expected, 0.05, 0.05 * scale, err_msg="11. int8")
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    case.assert_close(_predicted(again, inputs), output, "11. a copy of the quantized layer")


def _refusal(case: _Case, shape: Any) -> str | None:
    try:
        case.with_shapes(case.layer().build, shape)
    except ValueError as error:
        return str(error)
    return None


def _trained(case: _Case, jit_compile: bool) -> tuple[Any, float]:
    """A model after one step towards random numbers, and the loss before it."""
    model = case.model()
    model.compile(keras.optimizers.SGD(_OPTIMIZER_STEP), "mse", jit_compile=jit_compile)
    inputs = _as_list(case.inputs)
    return model, float(np.ravel(model.train_on_batch(inputs, _targets(case)))[0])


def _forward_loss(case: _Case) -> float:
    """The loss before a step, of a forward pass."""
    model = case.model()
    output = _to_numpy(model(_as_list(case.inputs), training=True))
    return float(np.mean((output - _targets(case)) ** 2)) + sum(map(float, model.losses))


def _targets(case: _Case) -> Any:
    return np.random.default_rng(0).normal(size=case.output.shape).astype("float32")


class _Wrapper(keras.Model):
    """A subclassed model whose `build` builds its layer, as users write them."""

    def __init__(self, case: _Case, layer: Any) -> None:
        super().__init__()
        self.case = case
        self.layer = layer

    def build(self, input_shape: Any) -> None:
        self.case.with_shapes(self.layer.build, input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        several = isinstance(self.case.inputs, tuple)
        return self.case.call(self.layer, tuple(inputs) if several else inputs)


def _constructor_arguments(layer_class: type[Any]) -> list[str]:
    parameters = inspect.signature(layer_class.__init__).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.name != "self" and p.kind not in variable]


def _plain(config: Any) -> Any:
    return json.loads(json.dumps(config))


def _path(weight: Any) -> str:
    """`query/kernel` of a weight whose path is `layer/query/kernel`."""
    return str(weight.path).partition("/")[2]


def _map(function: Callable[[Any], Any], inputs: Any) -> Any:
    return keras.tree.map_structure(function, inputs)


def _as_list(inputs: Any) -> Any:
    """The arguments of a layer as a model takes them."""
    return list(inputs) if isinstance(inputs, tuple) else inputs


def _shapes(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {name: array.shape for name, array in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(array.shape for array in inputs)
    return inputs.shape


def _symbolic(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {name: _input(array, name) for name, array in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(_input(array, f"inputs_{i}") for i, array in enumerate(inputs))
    return _input(inputs, "inputs")


def _input(array: Any, name: str) -> Any:
    return keras.Input(array.shape[1:], dtype=array.dtype.name, name=name)


def _wide_weights(layer: Any) -> dict[str, Any]:
    return {_path(weight): _widened(_to_numpy(weight)) for weight in layer.weights}


def _widened(array: Any) -> Any:
    return array.astype("float64") if _is_float(array) else array


def _to_numpy(tensor: Any) -> Any:
    return keras.ops.convert_to_numpy(tensor)


def _is_float(array: Any) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def _dtype(tensor: Any) -> str:
    return str(keras.backend.standardize_dtype(tensor.dtype))
