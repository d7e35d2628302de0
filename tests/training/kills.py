"""What a kill would have left of a run that nobody disturbed."""

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest


def copy_before(
    patch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    is_moment: Callable[..., bool],
    run: str | pathlib.Path,
    copy: str | pathlib.Path,
) -> None:
    """Copies a run's folder before a call of a function: a kill leaves what is on the disk then.

    Args:
        patch: what takes it back.
        owner: a module.
        name: of its function.
        is_moment: whether a call, of whose arguments it is a function, is the one.
        run: the folder.
        copy: where to.
    """
    real = getattr(owner, name)

    def copying(*arguments: Any, **options: Any) -> Any:
        if is_moment(*arguments):
            shutil.copytree(run, copy)
        return real(*arguments, **options)

    patch.setattr(owner, name, copying)


def call(number: int) -> Callable[..., bool]:
    """Whether it is the call of that number, from 1."""
    calls = iter(range(1, number + 1))
    return lambda *_: next(calls, None) == number
