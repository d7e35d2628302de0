"""What tests of several rooms share."""

import os
import pathlib
from collections.abc import Iterator

import keras
import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data sets. Without it a test is skipped, in CI it fails."""
    folder = pathlib.Path(os.environ.get("CTR_KERAS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        message = f"no real data at {folder}; set CTR_KERAS_DATA"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return folder


@pytest.fixture(scope="session")
def real_sources(real_data) -> dict[str, pathlib.Path]:
    """The source of each real data set, by the name of its declaration and a part."""
    return {
        "movielens-1m": real_data / "ml-1m" / "ml-1m.zip",
        "criteo": real_data / "criteo" / "kaggle_sample5000.txt.gz",
        "criteo-head": real_data / "criteo" / "kaggle_head8000.txt.gz",
        "criteo-terabyte": real_data / "criteo" / "terabyte_day0_first10000.txt.gz",
        "avazu": real_data / "avazu" / "train_20k.csv.gz",
    }


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs() -> Iterator[None]:
    """JAX keeps every program it has compiled; thousands of small ones fill the memory."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()
