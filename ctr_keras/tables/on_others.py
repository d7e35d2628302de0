"""Backends without gradients by rows: tables are trained whole."""

from collections.abc import Callable
from typing import Any, NoReturn

import keras

from ctr_keras.types import Tensor, Variable

HAS_ROW_GRADIENTS = False


def take(table: Variable, rows: Tensor) -> Tensor:
    return keras.ops.take(table, rows, axis=0)


def is_symbolic(tensor: Tensor) -> bool:
    return bool(tensor.device.type == "meta")  # of torch


def is_sparse(gradient: Tensor) -> bool:
    del gradient
    return False


def whole(gradient: Tensor, variable: Variable) -> Tensor:
    del variable
    return gradient


def has_replicas() -> bool:
    return False


def change_if(condition: Tensor, variable: Variable, change: Callable[[Tensor], Tensor]) -> None:
    if condition:
        variable.assign(change(variable.value))


def train_step(model: keras.Model, step: Callable[..., Any], *arguments: Any) -> Any:
    del model
    return step(*arguments)


def _never(*arguments: Any) -> NoReturn:
    raise NotImplementedError(f"{keras.backend.backend()} has no gradients by rows")


caught_up = sum_rows = distinct = read = write = in_blocks = _never
