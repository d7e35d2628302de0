"""First values of weights made by NumPy where Keras runs on JAX.

JAX compiles a program for every operation and every shape: to make its weights took a quarter of
what a layer's tests did.
"""

from collections.abc import Callable

import numpy as np
import pytest

Sample = Callable[..., np.ndarray]


def make_weights_by_numpy(patch: pytest.MonkeyPatch) -> None:
    """Has NumPy draw and fill what Keras on JAX draws and fills outside of compiled functions."""
    from keras.src.backend.jax import numpy, random

    for sample in (_normal, _truncated_normal, _uniform):
        name = sample.__name__.strip("_")
        patch.setattr(random, name, _drawn(sample, getattr(random, name)))
    for name in ("zeros", "ones"):
        patch.setattr(numpy, name, _filled(getattr(np, name), getattr(numpy, name)))


def _drawn(sample: Sample, by_jax: Callable[..., object]) -> Callable[..., object]:
    import jax
    import keras
    from jax._src.core import trace_state_clean
    from keras.src.backend.jax.random import jax_draw_seed

    def drawn(shape, *, dtype=None, seed=None, **options):
        if not trace_state_clean():
            return by_jax(shape, dtype=dtype, seed=seed, **options)
        draw = np.random.default_rng(np.asarray(jax_draw_seed(seed)))
        values = np.asarray(sample(draw, shape, **options))
        return jax.device_put(values.astype(dtype or keras.config.floatx()))

    return drawn


def _filled(fill: Sample, by_jax: Callable[..., object]) -> Callable[..., object]:
    import jax
    import keras
    from jax._src.core import trace_state_clean

    def filled(shape, dtype=None):
        if not trace_state_clean():
            return by_jax(shape, dtype=dtype)
        return jax.device_put(fill(shape, dtype or keras.config.floatx()))

    return filled


def _normal(draw: np.random.Generator, shape, mean=0.0, stddev=1.0) -> np.ndarray:
    return draw.normal(mean, stddev, shape)


def _truncated_normal(draw: np.random.Generator, shape, mean=0.0, stddev=1.0) -> np.ndarray:
    values = np.asarray(draw.normal(size=shape))
    while (far := np.abs(values) > 2).any():
        values[far] = draw.normal(size=far.sum())
    return mean + stddev * values


def _uniform(draw: np.random.Generator, shape, minval=0.0, maxval=1.0) -> np.ndarray:
    return draw.uniform(minval, maxval, shape)
