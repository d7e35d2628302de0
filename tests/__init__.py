"""Tests. JAX reads its settings when it is imported, so they stand here, before everything."""

import os

# Thousands of small programs run once: to optimize one takes longer than to run it.
UNOPTIMIZED = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.update(UNOPTIMIZED | os.environ)  # what is set already stays
