"""The built-in data sets, and those that a YAML file declares."""

from collections.abc import Callable

from pipeline.datasets.avazu import avazu
from pipeline.datasets.base import Dataset, History
from pipeline.datasets.criteo import criteo, criteo_terabyte
from pipeline.datasets.declared import load_dataset
from pipeline.datasets.movielens import movielens_1m, movielens_1m_history
from pipeline.datasets.synthetic import synthetic

__all__ = ["DATASETS", "Dataset", "History", "find_dataset", "load_dataset"]

DATASETS: dict[str, Callable[[], Dataset]] = {
    "movielens-1m": movielens_1m,
    "movielens-1m-history": movielens_1m_history,
    "criteo": criteo,
    "criteo-terabyte": criteo_terabyte,
    "avazu": avazu,
    "synthetic": synthetic,
}


def find_dataset(name: str, source: str) -> Dataset:
    """A built-in data set by name, or one declared in a YAML file.

    Args:
        name: str. A name in `DATASETS`, or the path of a file ending in `.yaml` or `.yml`.
        source: str. Where the data are; a YAML data set may read the header there.

    Raises:
        ValueError: for an unknown name or a wrong declaration, naming it.
    """
    if name.endswith((".yaml", ".yml")):
        return load_dataset(name, source)
    if name not in DATASETS:
        raise ValueError(
            f"unknown data set {name!r}: built in are {', '.join(DATASETS)}; "
            "your own is a YAML file"
        )
    return DATASETS[name]()
