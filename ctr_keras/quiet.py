"""TensorFlow without the lines that its C++ prints on import whatever the log level, without
warnings of names and traces, which are of no use to who gives a command, and a third sooner."""

import contextlib
import functools
import gc
import importlib.abc
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def quiet_tensorflow() -> None:
    """Sees to it that importing TensorFlow, whoever does it, prints nothing unless it fails."""
    if "tensorflow" not in sys.modules and not any(isinstance(of, _Quiet) for of in sys.meta_path):
        sys.meta_path.insert(0, _Quiet())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # from then on
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


class _Quiet(importlib.abc.MetaPathFinder):
    """Finds TensorFlow, once, where the other finders do."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = functools.partial(_execute, spec.loader.exec_module)
            spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


def _execute(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    with _standard_error_kept(), _no_garbage_collected():
        execute(module)


@contextlib.contextmanager
def _no_garbage_collected() -> Iterator[None]:
    """What is made meanwhile, most of all objects, stays: it is looked through neither now, again
    and again, nor later, nor at the end."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _standard_error_kept() -> Iterator[None]:
    """What is written to file descriptor 2 meanwhile is shown after an error alone."""
    with tempfile.TemporaryFile() as kept:
        own = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            with os.fdopen(os.dup(own), "wb") as shown:
                shutil.copyfileobj(kept, shown)
            raise
        finally:
            os.dup2(own, 2)
            os.close(own)
