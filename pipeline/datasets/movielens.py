"""MovieLens-1M in its published layout, as a click log: liked (over 3 stars) or not (under 3)."""

import dataclasses
import functools
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ctr_keras.features import Categorical, FeatureSet, Label, MultiValued, Numeric, Sequence
from ctr_keras.types import Array
from pipeline.block import Block, mask
from pipeline.datasets.base import Dataset, History
from pipeline.parsing.delimited import Delimited
from pipeline.sources import SourceFile, find_files, member_path, open_source

# Ids as in AutoInt's preprocessing: five spans up to 1969, then one bucket a year.
_YEAR_BOUNDARIES = (1930, 1940, 1950, 1960, *range(1970, 2001))
_RATINGS = Delimited(("user_id", "movie_id", "rating", "timestamp"), "::", False, header=False)
_HISTORY = History("history", user="user_id", item="movie_id", time="timestamp")


_FIELDS: tuple[Categorical | Numeric | MultiValued, ...] = (
    *(Categorical(name, group="user") for name in ("gender", "age", "occupation", "zip")),
    Numeric("year", scale="boundaries", boundaries=_YEAR_BOUNDARIES, group="item"),
    Numeric("timestamp", scale="min_max", group="context"),
    MultiValued("genres", separator="|", max_length=6, group="item"),
)


@dataclasses.dataclass(frozen=True)
class MovieLens(Dataset):
    """Ratings joined with their users and movies. The source is the published zip or its folder."""

    filter_rule = "rating is 3"

    def files(self, source: str) -> list[SourceFile]:
        """The ratings file."""
        path = member_path(source, "ratings.dat")
        return find_files(path)

    def side_files(self, source: str) -> list[str]:
        """Users and movies."""
        return [member_path(source, name) for name in ("users.dat", "movies.dat")]

    def derive(self, block: Block, source: str) -> dict[str, pa.Array]:
        """The ratings' columns and those of their users and movies."""
        columns = dict(block.columns)
        for key, table in zip(("user_id", "movie_id"), _side_tables(source), strict=True):
            row = pc.index_in(columns[key], table[key])
            block.reject(~mask(pc.is_valid(row)), f"unknown {key}")
            columns |= {name: values.take(row) for name, values in table.items() if name != key}
        return columns

    @property
    def scored_columns(self) -> tuple[str, ...]:
        """The ratings' columns but for the rating itself."""
        of_file = tuple(name for name in self.table.columns if name != "rating")
        return of_file + ((self.history.column,) if self.history else ())

    def label(self, block: Block, columns: dict[str, pa.Array]) -> Array:
        """1 over three stars, 0 under, NaN for three."""
        rating = columns["rating"]
        is_rating = pc.is_in(rating, pa.array(list("12345")))
        block.reject(~mask(is_rating), "rating is not 1 to 5")
        liked = mask(pc.is_in(rating, pa.array(["4", "5"]))).astype(np.float32)
        return np.where(mask(pc.equal(rating, "3")), np.float32("nan"), liked)


def movielens_1m() -> Dataset:
    """AutoInt's 7 fields (Section 5.1.1): neither user id nor movie id is one."""
    return MovieLens("movielens-1m", FeatureSet(*_FIELDS, label=Label("liked")), _RATINGS)


def movielens_1m_history() -> Dataset:
    """AutoInt's fields, the ids of user and movie, and the movies the user rated before.

    The history holds all earlier ratings whatever their stars, so that it tells no row's label.
    """
    features = FeatureSet(
        Categorical("user_id", group="user"),
        Categorical("movie_id", group="item"),
        *_FIELDS,
        Sequence("history", vocabulary_of="movie_id", max_length=_HISTORY.max_length),
        label=Label("liked"),
    )
    return MovieLens("movielens-1m-history", features, _RATINGS, history=_HISTORY)


@functools.lru_cache(maxsize=1)
def _side_tables(source: str) -> tuple[dict[str, pa.Array], dict[str, pa.Array]]:
    """Columns of users.dat and movies.dat; small, so each worker reads them for itself."""
    users = _read_dat(source, "users.dat", ("user_id", "gender", "age", "occupation", "zip"))
    movies = _read_dat(source, "movies.dat", ("movie_id", "year", "genres"))
    years = [re.search(r"\((\d{4})\)\s*$", title) for title in movies["year"].to_pylist()]
    movies["year"] = pa.array([year[1] if year else "" for year in years])
    return users, movies


def _read_dat(source: str, file_name: str, names: tuple[str, ...]) -> dict[str, pa.Array]:
    with open_source(member_path(source, file_name)) as file:
        rows = [line.split("::") for line in file.read().decode("latin-1").splitlines()]
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return {name: pa.array(values) for name, values in columns}
