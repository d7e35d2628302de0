"""What int8 costs in AUC and log loss and saves on disk on MovieLens-1M, as in docs/results.md.

Prepare the data first:

    ctr-keras prepare --dataset movielens-1m-history --source ml-1m.zip --out DIR/plain

Then `python -m benchmarks.quantized --data DIR --out RUNS` trains what is not trained yet, writes
each run's int8 versions next to it, and prints the table.
"""

import contextlib
import os
import shutil
import sys
import warnings

import click
import keras
import numpy as np

from ctr_keras import metrics
from ctr_keras.training import TrainConfig, load_run, predict_split, train
from ctr_keras.types import Array, Config

_COMMON = ("dim=16", "epochs=2", "patience=2")
# All have seed 0.
RUNS = {
    "FM": _COMMON,
    "DeepFM": _COMMON,
    "IPNN": _COMMON,
    "AutoInt": (*_COMMON, "layers=2"),
}


# What is rounded: weights alone, or what goes into dense layers as well, which is Keras' default.
WAYS: dict[str, Config] = {"int8": {"activation_quantizer": None}, "int8, activations": {}}


@click.command()
@click.option("--data", required=True, help="Folder with the prepared data.")
@click.option("--out", required=True, help="Folder for the runs.")
def main(data: str, out: str) -> None:
    """Train and quantize all runs and print a table of their test metrics."""
    rows = []
    for model, settings in RUNS.items():
        folder = os.path.join(out, model.lower())
        config = TrainConfig.read(
            None, settings, data=os.path.join(data, "plain"), model=model, out=folder
        )
        with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the table
            train(config)
        folders = [folder, *(_quantized(folder, way) for way in WAYS)]
        expected = None
        for name, each in zip(("float32", *WAYS), folders, strict=True):
            trained, features, _ = load_run(each)
            labels, scores = predict_split(trained, features, config.data, "test")
            expected = scores if expected is None else expected
            rows.append(
                _row(model, name, metrics.evaluate(labels, scores), scores - expected, each)
            )
            print(rows[-1], flush=True)
    print("\n| model | weights | AUC | log loss | scores differ | at most | MiB on disk |")
    print("|---|---|---|---|---|---|---|\n" + "\n".join(rows))


def _row(model: str, name: str, test: Config, difference: Array, folder: str) -> str:
    size = os.path.getsize(os.path.join(folder, "model.keras")) / 2**20
    away = np.abs(difference)
    return (
        f"| {model} | {name} | {test['auc']:.5f} | {test['log_loss']:.5f} "
        f"| {away.mean():.5f} | {away.max():.5f} | {size:.2f} |"
    )


def _quantized(folder: str, way: str) -> str:
    """A copy of a run whose model is quantized."""
    target = f"{folder}-{way.replace(', ', '-')}"
    shutil.copytree(folder, target, dirs_exist_ok=True)
    model = keras.saving.load_model(os.path.join(folder, "model.keras"), compile=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each layer that has nothing to quantize
        model.quantize(config=keras.quantizers.Int8QuantizationConfig(**WAYS[way]))
    model.save(os.path.join(target, "model.keras"))
    return target


if __name__ == "__main__":
    main()
