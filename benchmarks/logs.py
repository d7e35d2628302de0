"""Prepares the logs that the tables of docs/results.md are about, each in a folder of its own.

    python -m benchmarks.logs --data DATA --out DIR
    python -m benchmarks.logs --data DATA --out DIR/crossed --cross-min-count 5 --log coupons

`DATA` holds the logs as they were published (in folders `frappe_x1`, `avazu`, ...). Seven are
declared as anybody's own data are, in `examples/logs/`, and three are built in. A log that is there
already, or that `DATA` does not have, is passed over. The second command crosses all pairs of
categories of one log, as OptInter needs them.
"""

import gzip
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import numpy as np
import pandas as pd

from pipeline.prepare import prepare

DECLARED = pathlib.Path(__file__).parent.parent / "examples" / "logs"
VALIDATION = 0.1  # of the rows to learn from, where the log has files of its own to test on


def _lines(path: pathlib.Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.readlines()


def _with_validation(
    learn: list[str], folder: pathlib.Path, suffix: str, header: list[str]
) -> None:
    chosen = np.random.default_rng(0).random(len(learn)) < VALIDATION
    for name, wanted in (("train", False), ("validation", True)):
        rows = [line for line, is_chosen in zip(learn, chosen, strict=True) if is_chosen == wanted]
        (folder / f"{name}.{suffix}").write_text("".join(header + rows))


def _frappe(log: pathlib.Path, folder: pathlib.Path) -> None:
    header, *rows = _lines(log / "valid.csv.gz")  # its training file is not to be had
    _with_validation(rows, folder, "csv", [header])
    (folder / "test.csv").write_text("".join(_lines(log / "test.csv.gz")))


def _ipinyou(log: pathlib.Path, folder: pathlib.Path) -> None:
    _with_validation(_lines(log / "train.fm.txt.gz"), folder, "txt", [])
    (folder / "test.txt").write_text("".join(_lines(log / "test.fm.txt.gz")))


def _amazon_beauty(log: pathlib.Path, folder: pathlib.Path) -> None:
    """Each purchase, and for each two items that its user never bought; the last ones are to test.

    Of every third user, the last purchase is in the test split and the one before it in the
    validation split.
    """
    with gzip.open(log / "Beauty_item2attributes.json.gz", "rt", encoding="utf-8") as file:
        attributes = json.load(file)
    purchases = [line.split() for line in _lines(log / "Beauty.txt.gz")]
    items = np.unique(np.concatenate([bought for _, *bought in purchases]))
    draw = np.random.default_rng(0)
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    for user, *bought in purchases[::3]:
        others = np.setdiff1d(items, bought)
        for left, item in enumerate(reversed(bought)):
            split = ("test", "validation", "train")[min(left, 2)]
            for bought_one, shown in ((1, item), *((0, other) for other in draw.choice(others, 2))):
                tags = " ".join(map(str, attributes.get(shown, ())))
                rows[split].append(
                    {"bought": bought_one, "user": user, "item": shown, "tags": tags}
                )
    for split, table in rows.items():
        pd.DataFrame(table).to_csv(folder / f"{split}.csv", index=False)


def _only_file(log: pathlib.Path, folder: pathlib.Path) -> None:
    (path,) = log.iterdir()
    shutil.copy(path, folder)


# Name of the log: its folder in the data, and what makes the files that its declaration names.
OWN: dict[str, tuple[str, Callable[[pathlib.Path, pathlib.Path], None]]] = {
    "frappe": ("frappe_x1", _frappe),
    "amazon_access": ("amazon_access", _only_file),
    "coupons": ("coupons", _only_file),
    "talkingdata": ("talkingdata", _only_file),
    "ipinyou": ("ipinyou", _ipinyou),
    "amazon_reviews": ("amazon_reviews", _only_file),
    "amazon_beauty": ("amazon_beauty", _amazon_beauty),
}
# Name of the log: the built-in data set and its source.
BUILT_IN = {
    "avazu": ("avazu", "avazu/train_20k.csv.gz"),
    "criteo": ("criteo", "criteo/kaggle_*.txt.gz"),
    "movielens-1m": ("movielens-1m-history", "ml-1m/ml-1m.zip"),
}


def prepared(
    data: pathlib.Path, out: pathlib.Path, names: Sequence[str], cross_min_count: int | None
) -> Iterator[pathlib.Path]:
    """Prepares what is not prepared yet; the folders of those of the named logs that are there."""
    for name, (folder, make) in OWN.items():
        if name in names and (data / folder).exists():
            with tempfile.TemporaryDirectory() as source:
                if not (out / name).exists():
                    make(data / folder, pathlib.Path(source))
                    declared = str(DECLARED / f"{name}.yaml")
                    prepare(declared, source, str(out / name), cross_min_count=cross_min_count)
            yield out / name
    for name, (dataset, path) in BUILT_IN.items():
        if name in names and any(data.glob(path)):
            if not (out / name).exists():
                source = str(data / path)
                prepare(dataset, source, str(out / name), cross_min_count=cross_min_count)
            yield out / name


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(path_type=pathlib.Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path))
@click.option("--log", "names", multiple=True, type=click.Choice([*OWN, *BUILT_IN]), help="One.")
@click.option("--cross-min-count", type=click.IntRange(1), help="As of `ctr-keras prepare`.")
def main(
    data: pathlib.Path, out: pathlib.Path, names: Sequence[str], cross_min_count: int | None
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for folder in prepared(data, out, names or [*OWN, *BUILT_IN], cross_min_count):
        with (folder / "report.json").open() as file:
            rows = json.load(file)["rows"]
        print(folder, json.dumps(rows))


if __name__ == "__main__":
    main()
