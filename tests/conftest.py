"""What tests of several rooms share: real data, and exports without another process."""

import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import NoReturn

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def unavailable(what: str, message: str) -> NoReturn:
    """Skips a test without what it needs, or fails where `CTR_KERAS_REQUIRE_<WHAT>` is 1."""
    required = os.environ.get(f"CTR_KERAS_REQUIRE_{what}") == "1"
    (pytest.fail if required else pytest.skip)(message)


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data sets."""
    folder = pathlib.Path(os.environ.get("CTR_KERAS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        unavailable("DATA", f"no real data at {folder}; set CTR_KERAS_DATA")
    return folder


def score_here(version: str, rows: list[dict]) -> dict:
    """What `score_in_fresh_process` gives, in this process."""
    import numpy as np

    from serving.export import blessing

    scores = blessing._scores(str(version), [json.dumps(row) for row in rows])
    return {name: np.array(values) for name, values in scores.items()}


@pytest.fixture(scope="module")
def scored_here() -> Iterator[None]:
    """New SavedModels are scored in this process: another takes longer to start than the rest."""
    from serving.export import blessing

    in_fresh_process = blessing.score_in_fresh_process

    def score(version: str, rows: list[dict]) -> dict:
        is_onnx = blessing._is_onnx(version)
        return in_fresh_process(version, rows) if is_onnx else score_here(version, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blessing, "score_in_fresh_process", score)
        yield


def write_part_of_movielens(path: pathlib.Path, whole: pathlib.Path, part: int = 40) -> None:
    """MovieLens with all ratings of one user in `part`."""
    path.mkdir()
    with zipfile.ZipFile(whole) as archive:
        for name in ("users.dat", "movies.dat", "ratings.dat"):
            lines = archive.read(f"ml-1m/{name}").splitlines(keepends=True)
            if name == "ratings.dat":
                lines = [line for line in lines if int(line.partition(b"::")[0]) % part == 0]
            (path / name).write_bytes(b"".join(lines))


@pytest.fixture(scope="session")
def real_sources(real_data, tmp_path_factory) -> dict[str, pathlib.Path]:
    """The source of each real data set, by the name of its declaration and a part."""
    from tests.prepared import made_once  # needs TensorFlow

    movielens = real_data / "ml-1m" / "ml-1m.zip"
    return {
        "movielens-1m": movielens,
        "movielens-1m-part": made_once(
            "ml-1m-part", lambda path: write_part_of_movielens(path, movielens), tmp_path_factory
        ),
        "criteo": real_data / "criteo" / "kaggle_sample5000.txt.gz",
        "criteo-head": real_data / "criteo" / "kaggle_head8000.txt.gz",
        "criteo-terabyte": real_data / "criteo" / "terabyte_day0_first10000.txt.gz",
        "avazu": real_data / "avazu" / "train_20k.csv.gz",
    }
