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
from collections.abc import Callable

import click
import keras

from ctr_keras.training import TrainConfig, evaluate_run, train

_COMMON = ("dim=16", "epochs=2", "patience=2")
# All have seed 0.
RUNS = {
    "FM": _COMMON,
    "DeepFM": _COMMON,
    "IPNN": _COMMON,
    "AutoInt": (*_COMMON, "layers=2"),
}


def _by_default(model: keras.Model) -> None:
    model.quantize("int8")


def _with_activations(model: keras.Model) -> None:
    """As Keras does it: what goes into dense layers is rounded to int8, too."""
    rounded = keras.quantizers.AbsMaxQuantizer(axis=-1)
    model.quantize(config=keras.quantizers.Int8QuantizationConfig(activation_quantizer=rounded))


WAYS: dict[str, Callable[[keras.Model], None]] = {
    "int8": _by_default,
    "int8-activations": _with_activations,
}


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
        folders = [folder, *(_quantized(folder, name, way) for name, way in WAYS.items())]
        for name, each in zip(("float32", *WAYS), folders, strict=True):
            test = evaluate_run(each)
            size = os.path.getsize(os.path.join(each, "model.keras")) / 2**20
            rows.append(
                f"| {model} | {name} | {test['auc']:.5f} | {test['log_loss']:.5f} | {size:.2f} |"
            )
            print(rows[-1], flush=True)
    print("\n| model | weights | AUC | log loss | MiB on disk |\n|---|---|---|---|---|")
    print("\n".join(rows))


def _quantized(folder: str, name: str, quantize: Callable[[keras.Model], None]) -> str:
    """A copy of a run, without its optimizer's state, whose model is quantized."""
    target = f"{folder}-{name}"
    shutil.copytree(folder, target, dirs_exist_ok=True)
    path = os.path.join(target, "model.keras")
    model = keras.saving.load_model(os.path.join(folder, "model.keras"), compile=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of each layer that has nothing to quantize
        quantize(model)
    model.save(path)
    return target


if __name__ == "__main__":
    main()
