"""Any SavedModel on disk, of TensorFlow 1 or 2, as a servable: one version of one model."""

import os
import pathlib
import stat
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from serving.arguments import by_inputs
from serving.codes import Code, StatusError, not_found
from serving.server.signature import DEFAULT_SIGNATURE, SignatureRunner
from serving.types import Run
from serving.versions import content_of

SERVE_TAGS = frozenset({"serve"})


class Servable:
    """One loaded version of a model.

    Args:
        name: str. The model's name.
        version: int. The version's number.
        path: path of the SavedModel's directory.
        tags: frozenset of str. Which of its graphs to load.
        through: callable or None. What requests go through; see `SignatureRunner`.
        checks_method_names: bool. Whether classify and regress insist on a signature's
            method_name.

    Attributes:
        signature_defs: dict. Signature name to SignatureDef, for all that the SavedModel lists.

    Raises:
        StatusError: NOT_FOUND without a SavedModel (for serving) at `path`, DATA_LOSS for one
            that cannot be parsed or loaded, or TensorFlow's own code.

    Example:

    >>> servable = Servable("times_two", 1, "models/times_two/1")
    >>> servable.signature("").run({"x": np.float32([1.0])})
    {'y': array([2.], dtype=float32)}
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: str | os.PathLike[str],
        tags: frozenset[str] = SERVE_TAGS,
        through: Callable[[Run], Run] | None = None,
        checks_method_names: bool = False,
    ):
        self.name = name
        self.version = version
        self.checks_method_names = checks_method_names
        _check_files(path)
        self.signature_defs = dict(_meta_graph(pathlib.Path(path), tags).signature_def)
        self._model = _loaded(path, tags)  # owns what signatures use
        # What the SavedModel lists but TensorFlow does not load is `__saved_model_init_op`.
        self._signatures = {
            key: SignatureRunner(
                definition, by_inputs(self._model.signatures[key], key, definition), through
            )
            for key, definition in self.signature_defs.items()
            if key in self._model.signatures
        }

    def signature(self, name: str) -> SignatureRunner | None:
        """Looks a signature up; "" means the default one."""
        return self._signatures.get(name or DEFAULT_SIGNATURE)


def _check_files(path: str | os.PathLike[str]) -> None:
    """Refuses pipes and the like, which keep whoever reads them waiting for ever."""
    for name, mode, *_ in content_of(path):
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"{os.path.join(path, name)} is neither a file nor a folder",
            )


def _loaded(path: str | os.PathLike[str], tags: frozenset[str]) -> Any:
    try:
        return tf.saved_model.load(str(path), sorted(tags))
    except MemoryError:
        raise
    except tf.errors.OpError as error:
        code, reason = Code(error.error_code), error.message
    except Exception as error:  # of a file that is cut off, anything
        code, reason = Code.DATA_LOSS, f"{type(error).__name__}: {error}"
    raise StatusError(code, f"Cannot load the SavedModel in {path}: {reason}")


def _meta_graph(path: pathlib.Path, tags: frozenset[str]) -> meta_graph_pb2.MetaGraphDef:
    saved_model = _read(path)
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    wanted = " ".join(sorted(tags))
    raise not_found(
        f"Could not find meta graph def matching supplied tags: {{ {wanted} }} in {path}"
    )


def _read(path: pathlib.Path) -> saved_model_pb2.SavedModel:
    saved_model = saved_model_pb2.SavedModel()
    try:
        if (path / "saved_model.pb").exists():
            saved_model.ParseFromString((path / "saved_model.pb").read_bytes())
        elif (path / "saved_model.pbtxt").exists():
            text_format.Parse((path / "saved_model.pbtxt").read_text(), saved_model)
        else:
            raise not_found(f"Could not find SavedModel .pb or .pbtxt at supplied path: {path}")
    except (DecodeError, text_format.ParseError) as error:
        raise StatusError(
            Code.DATA_LOSS, f"Can't parse the SavedModel in {path}: {error}"
        ) from error
    return saved_model
