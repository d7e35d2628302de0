"""Checks what a model is given on the host, where an error can still name the id and its row.

Compiled code cannot raise: an id outside a table is an error on TensorFlow's CPU, zeros on its
GPU, NaN on JAX, and an id of another field's is garbage everywhere. So layers that read ids say
what they take, as `InputCheck`s, and `CheckedInputs` compares it with what a model is given:

- arrays, frames and tensors whole, before anything is computed
- `tf.data` datasets in their own graph, batch by batch
- PyDatasets, generators and torch's loaders batch by batch, as they come; of batches that a
  generator has on a device only the first, as the others would have to come back

A compiled step does not change by any of this.
"""

import contextlib
import copy
import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from ctr_keras.keras_internals import flat_layers
from ctr_keras.types import Array, Tensor

_ROWS_AT_ONCE = 2**16  # of an array, which may be mapped from a disk
_ANY = np.iinfo("int32")
_INTEGERS = ("int", "uint")
_NUMBERS = (*_INTEGERS, "float", "bfloat")
_HINT = "each vocabulary has global ids of its own: take them from `features.pack` or prepared data"


@dataclasses.dataclass(frozen=True)
class InputCheck:
    """What one packed input, `(batch, columns)`, must be.

    Attributes:
        name: of the input.
        fields: of each column the field's name and its ids, in addition to 0; None for a column
            that is not read. For numbers and weights None as a whole.
        width: columns.
        weights_of: of weights the field whose values have them. Defaults to `""`.
    """

    name: str
    width: int
    fields: tuple[tuple[str, range] | None, ...] | None
    weights_of: str = ""

    @property
    def checks_values(self) -> bool:
        """Whether some values of the type are wrong."""
        return bool(self.fields or self.weights_of)

    @functools.cached_property
    def low(self) -> Array:
        """The smallest id of each column, or weight."""
        if self.weights_of:
            return np.zeros(self.width, "float32")
        return np.array([f[1].start if f else _ANY.min for f in self.fields or ()], "int32")

    @functools.cached_property
    def high(self) -> Array:
        """The largest id of each column, or weight."""
        if self.weights_of:
            return np.full(self.width, np.finfo("float32").max)
        return np.array([f[1].stop - 1 if f else _ANY.max for f in self.fields or ()], "int32")

    def check_form(self, shape: Any, dtype: str) -> None:
        """Checks what is known of an input without its values.

        Raises:
            ValueError: for another rank, width or type.
        """
        self.check_shape(shape)
        if not dtype.startswith(_INTEGERS if self.fields else _NUMBERS):
            wanted = f"integer ids; {_HINT}" if self.fields else "numbers"
            raise ValueError(f"input {self.name!r} is {dtype}, but must be {wanted}")

    def check_shape(self, shape: Any) -> None:
        if len(shape) != 2 or shape[1] not in (None, self.width):
            raise ValueError(
                f"input {self.name!r} must be (batch, {self.width}). Received: {tuple(shape)}"
            )

    def check(self, given: Any) -> None:
        """Checks the values of an input.

        Raises:
            ValueError: for the first that is wrong, naming field, id, row and the field's ids, or
                field, weight and row.
        """
        values = self.as_columns(np.asarray(given))
        self.check_form(values.shape, values.dtype.name)
        if not self.checks_values:
            return
        for start in range(0, len(values), _ROWS_AT_ONCE):
            block = values[start : start + _ROWS_AT_ONCE]
            wrong = self.wrong(block)
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                self._refuse(block[row, column], start + row, column)

    def as_columns(self, values: Tensor) -> Tensor:
        """Values of one column may come without its axis, as functional models take them."""
        return values[:, None] if self.width == 1 and len(values.shape) == 1 else values

    def wrong(self, values: Tensor) -> Tensor:
        """Where ids are neither 0 nor of their field, or weights negative or not finite."""
        return ~((values >= self.low) & (values <= self.high)) & (values != 0)

    def _refuse(self, wrong: Any, row: int, column: int) -> None:
        if self.weights_of:
            raise ValueError(
                f"weight {wrong} of {self.weights_of!r} in row {row} of input {self.name!r} is not "
                "a finite number of at least 0"
            )
        assert self.fields is not None
        field, ids = self.fields[column] or ("", range(0))
        raise ValueError(
            f"id {wrong} of {field!r} in row {row} of input {self.name!r}: ids of {field!r} are "
            f"{ids.start} to {ids.stop - 1}, 0 is missing; {_HINT}"
        )


def check_inputs(checks: Iterable[InputCheck], inputs: Any, values: bool) -> None:
    """Checks what a layer is called with: its values, if there are any, or its form alone."""
    for check in checks:
        value = given(inputs, check.name)
        if values and not _is_symbolic(value):
            check.check(value)
        else:
            value = value if hasattr(value, "shape") else np.asarray(value)
            check.check_form(value.shape, keras.backend.standardize_dtype(value.dtype))


def given(inputs: Mapping[str, Any], name: str) -> Any:
    """The input of a name, or a ValueError that says which there are."""
    if name not in inputs:
        raise ValueError(f"input {name!r} is missing. Received: {', '.join(inputs)}")
    return inputs[name]


def _is_symbolic(value: Any) -> bool:
    from ctr_keras.tables import is_symbolic

    is_tensor = keras.ops.is_tensor(value)
    return isinstance(value, keras.KerasTensor) or (is_tensor and is_symbolic(value))


def checks_of(model: keras.Model) -> list[InputCheck]:
    """What the layers of a model take of its inputs, each check once.

    A functional model's input may be another thing of the same name, such as strings that become
    ids inside; it is checked if it is as a layer takes it, and not where a layer is seen to take
    something else, such as the leaves of trees.
    """
    tensors = {tensor.name: tensor for tensor in getattr(model, "inputs", None) or ()}
    layers = flat_layers(model)
    others = [layer for layer in layers if _takes_another(layer, tensors)]
    left_out = {id(one) for layer in others for one in (layer, *flat_layers(layer))}
    read = (layer for layer in layers if id(layer) not in left_out)
    found = dict.fromkeys(check for layer in read for check in getattr(layer, "input_checks", ()))
    return [c for c in found if c.name not in tensors or _fits(c, tensors[c.name])]


def _takes_another(layer: keras.layers.Layer, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layer of a functional model takes another tensor than an input of its name."""
    try:
        taken = layer.input
    except (AttributeError, ValueError):  # inside another layer, or called more than once
        return False
    taken = {id(tensor) for tensor in (taken if isinstance(taken, list) else [taken])}
    checks = getattr(layer, "input_checks", ())
    return any(id(tensors.get(check.name)) not in taken for check in checks)


def _fits(check: InputCheck, tensor: Tensor) -> bool:
    try:
        check.check_form(tensor.shape, tensor.dtype)
    except ValueError:
        return False
    return True


class Checked:
    """Hands a model's data through, so that they are checked as they come.

    An error of a check is kept, as TensorFlow and worker processes wrap what is raised inside.
    """

    def __init__(self, model: keras.Model) -> None:
        self._checks = checks_of(model)
        self._names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
        self.error: ValueError | None = None

    def __call__(self, data: Any) -> Any:
        """The data as `fit` takes them for `x`: the same, or what checks them on the way."""
        if not self._checks or data is None:
            return data
        if isinstance(data, types.GeneratorType):
            return self._generated(data)
        if isinstance(data, keras.utils.PyDataset):
            return _CheckedPyDataset(data, self._check_batch)
        if _is_a("DataLoader", "torch.utils.data", data):
            return self._loaded(data)
        if _is_a("DatasetV2", "tensorflow", data):
            return self._mapped(data)
        self._check(data)
        return data

    def validation(self, data: Any) -> Any:
        """The same of `validation_data`: a tuple of arrays, or what `fit` takes for `x`."""
        if isinstance(data, tuple | list):
            return (self(data[0]), *data[1:])
        return self(data)

    def _check(self, x: Any, on_device: bool = True) -> None:
        inputs = self._by_name(x)
        for check in self._checks:
            given = inputs.get(check.name)
            if given is None or _is_symbolic(given):
                continue
            if on_device or not keras.ops.is_tensor(given):
                try:
                    check.check(given)
                except ValueError as error:
                    self.error = error
                    raise

    def _check_batch(self, batch: Any, on_device: bool = True) -> None:
        self._check(batch[0] if isinstance(batch, tuple) else batch, on_device)

    def _by_name(self, x: Any) -> Mapping[str, Any]:
        """Inputs by name; a functional model takes a list of them, or the only one, too."""
        if isinstance(x, Mapping):
            return x
        return dict(zip(self._names, x if isinstance(x, list | tuple) else [x], strict=False))

    def _generated(self, batches: Any) -> Iterator[Any]:
        for number, batch in enumerate(batches):
            self._check_batch(batch, on_device=number == 0)
            yield batch

    def _loaded(self, loader: Any) -> Any:
        loader = copy.copy(loader)  # with the same sampler, and so in the same order
        collate = loader.collate_fn

        def collated(rows: Any) -> Any:
            batch = collate(rows)
            self._check_batch(tuple(batch) if isinstance(batch, list) else batch)
            return batch

        loader.collate_fn = collated
        return loader

    def _mapped(self, dataset: Any) -> Any:
        """A dataset that leaves its graph only for a batch with a wrong id."""
        import tensorflow as tf

        def checked(*batch: Any) -> Any:
            inputs = self._by_name(batch[0])
            for check in self._checks:
                values = inputs.get(check.name)
                if not isinstance(values, tf.Tensor):
                    continue
                if values.shape.rank is None:  # nothing is known of it in the graph
                    tf.py_function(functools.partial(self._refuse, check), [values], [])
                    continue
                values = check.as_columns(values)
                check.check_form(values.shape, values.dtype.name)
                if check.checks_values:
                    kind = tf.float32 if check.weights_of else tf.int64
                    is_id = values.dtype == tf.int32
                    self._refuse_in_graph(check, values if is_id else tf.cast(values, kind))
            return batch if len(batch) > 1 else batch[0]

        return dataset.map(checked)

    def _refuse_in_graph(self, check: InputCheck, values: Any) -> None:
        import tensorflow as tf

        def refused() -> bool:
            tf.py_function(functools.partial(self._refuse, check), [values], [])
            return True

        tf.cond(tf.reduce_any(check.wrong(values)), refused, lambda: False)

    def _refuse(self, check: InputCheck, values: Any) -> None:
        self._check({check.name: values.numpy()})


@contextlib.contextmanager
def checking(model: keras.Model) -> Iterator[Checked]:
    """Has data checked inside the block; the error of a check leaves it as one line."""
    checked = Checked(model)
    try:
        yield checked
    except Exception:
        if checked.error is None:
            raise
        raise checked.error from None


class _CheckedPyDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked where it makes them."""

    def __init__(self, dataset: keras.utils.PyDataset, check: Callable[[Any], None]) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._check = check

    @property
    def num_batches(self) -> int | None:
        count: int | None = self._dataset.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        batch = self._dataset[index]
        self._check(batch)
        return batch

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def _is_a(name: str, package: str, data: Any) -> bool:
    """Whether data are of a class of a package that may not be installed."""
    return any(c.__name__ == name and package in c.__module__ for c in type(data).__mro__)


def _checking(name: str) -> Callable[..., Any]:
    """Keras' method of a name, whose inputs are checked."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self: Any, x: Any = None, *arguments: Any, **options: Any) -> Any:
        with checking(self) as checked:
            if "validation_data" in options:
                options["validation_data"] = checked.validation(options["validation_data"])
            return getattr(super(CheckedInputs, self), name)(checked(x), *arguments, **options)

    return method


class CheckedInputs:
    """Makes a Keras model check what it is given; it stands before the model's class."""

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Any:
        Checked(self)(inputs)
        return super().__call__(inputs, *arguments, **options)  # type: ignore[misc]

    fit = _checking("fit")
    evaluate = _checking("evaluate")
    predict = _checking("predict")
    train_on_batch = _checking("train_on_batch")
    test_on_batch = _checking("test_on_batch")
    predict_on_batch = _checking("predict_on_batch")
