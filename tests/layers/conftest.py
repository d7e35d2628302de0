"""What the tests of layers share."""

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(autouse=True, scope="module")
def _leave_programs_as_they_are() -> Iterator[None]:
    """On JAX thousands of small programs run once: to optimize one takes longer than to run it."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
