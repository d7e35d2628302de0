"""A model for ONNX Runtime, next to what `FeatureSet.pack` needs to make its inputs of raw rows.

`serving.onnx_scorer` scores with both, in processes that have neither TensorFlow nor Keras.
"""

import importlib.util
import math
import os
import warnings

import keras
import numpy as np

from ctr_keras.features import FeatureSet
from serving.versions import ONNX_FILE

_MAX_BYTES = 2**31  # of a file in protocol buffers


def check_onnx_packages() -> None:
    """Raises a ModuleNotFoundError that says what to install where a package is missing."""
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"ONNX needs {package}: pip install 'ctr-keras[onnx]'", name=package
            )


def write_onnx(model: keras.Model, features: FeatureSet, prepared: str, path: str) -> None:
    """Writes the model and what packs rows for it into a folder.

    Args:
        model: keras.Model on the packed inputs of `features`, on TensorFlow.
        features: FeatureSet.
        prepared: str. The folder that `ctr-keras prepare` wrote.
        path: str. The folder.

    Raises:
        ValueError: for a model that ONNX cannot hold: of mixed precision, or of 2 GiB.
    """
    size = sum(math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in model.variables)
    if size >= _MAX_BYTES:
        raise ValueError(
            f"{model.name} has weights of {size / 2**30:.1f} GiB, and an ONNX file holds less than "
            "2: export it as a SavedModel, or in int8"
        )
    os.makedirs(path)
    # Keras exports what has been called.
    model({t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in model.inputs}, training=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf2onnx about NumPy
        model.export(os.path.join(path, ONNX_FILE), format="onnx", verbose=False)
    fitted = FeatureSet.load_fitted(prepared).with_labels(features.label_names)
    if "crossed" not in (tensor.name for tensor in model.inputs):
        fitted = fitted.without_crossed()
    fitted.save_fitted(path)
