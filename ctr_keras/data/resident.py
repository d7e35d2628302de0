"""A split in memory: that of the accelerator where Keras runs on JAX.

There each step takes only row numbers to the device, and cuts its batch there. TensorFlow's input
pipelines run on the host, so that rows stay in its memory.
"""

from typing import Any

import keras
import numpy as np

from ctr_keras.data.arrays import ArrayExamples, cut
from ctr_keras.types import Rows


def resident(rows: Rows) -> ArrayExamples:
    """Rows that have been read into memory, once, memory-mapped ones included.

    Example:

    >>> examples = resident(({"categorical": np.arange(5)[:, None]}, np.zeros((5, 1))))
    >>> inputs, labels = next(examples.stream(2, seed=0))
    >>> inputs["categorical"].shape, labels.shape
    ((2, 1), (2, 1))
    """
    if keras.backend.backend() == "jax":
        import jax

        placed: Any = jax.device_put(rows)
        return ArrayExamples(placed, jax.jit(cut))
    inputs, labels = rows
    in_memory = {name: np.array(values) for name, values in inputs.items()}
    return ArrayExamples((in_memory, np.array(labels)))
