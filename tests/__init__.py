"""Tests. JAX reads its settings when it is imported, so they stand here, before everything."""

import importlib.metadata
import importlib.util
import os

# Thousands of small programs run once: to optimize one takes longer than to run it.
JAX_SETTINGS = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # a GPU would multiply in TF32
}
if importlib.util.find_spec("jaxlib"):  # which tests on PyTorch do without
    version = importlib.metadata.version("jaxlib")
    if tuple(map(int, version.split(".")[:2])) < (0, 11):  # a later one ends at this flag
        JAX_SETTINGS["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.update(JAX_SETTINGS | os.environ)  # what is set already stays
