"""MIAN and its ablations, OptInter's extremes and FNN on MovieLens-1M.

Prepare the data first:

    ctr-keras prepare --dataset movielens-1m-history --source ml-1m.zip --out DIR/plain
    ctr-keras prepare --dataset movielens-1m-history --source ml-1m.zip --out DIR/crossed \
        --cross-min-count 5

Then `python -m benchmarks.movielens --data DIR --out RUNS` trains what is not trained yet (a run
that was killed goes on) and prints the table.
"""

import contextlib
import os
import sys

import click

from ctr_keras.training import TrainConfig, evaluate_run, train

_MODULES = ("behaviors", "user", "context", "global")
# The paper's settings but for its L2 penalty of 0.001, under which a run can end at the click rate,
# and its 8 heads, which at this width would be of 2 elements each.
_MIAN = ("preset=books", "l2=0.0", "heads=2", "batch_size=256", "epochs=2")
_TOWER = ("dim=16", "epochs=5", "patience=1")
_CROSS = (*_TOWER, "cross_dim=8")


def _without(*names: str) -> tuple[str, ...]:
    kept = [name for name in _MODULES if name not in names]
    return (*_MIAN, f"modules=[{', '.join(kept)}]")


# Name in the table: model, prepared data, settings. All have seed 0.
RUNS = {
    "FNN": ("FNN", "plain", _TOWER),
    "OptInter-F": ("OptInterF", "plain", _CROSS),
    "OptInter-M": ("OptInterM", "crossed", _CROSS),
    "MIAN": ("MIAN", "plain", _MIAN),
    "MIAN without IBIM": ("MIAN", "plain", _without("behaviors")),
    "MIAN without Transformer": ("MIAN", "plain", (*_MIAN, "transformer=none")),
    "MIAN without IUIM and ICIM": ("MIAN", "plain", _without("user", "context")),
    "MIAN without IUIM": ("MIAN", "plain", _without("user")),
    "MIAN without ICIM": ("MIAN", "plain", _without("context")),
    "MIAN without GIM": ("MIAN", "plain", _without("global")),
    "MIAN with Post-LN": ("MIAN", "plain", (*_MIAN, "transformer=post")),
}


@click.command()
@click.option("--data", required=True, help="Folder with the prepared data.")
@click.option("--out", required=True, help="Folder for the runs.")
def main(data: str, out: str) -> None:
    """Train all runs and print a table of their test metrics."""
    rows = []
    for name, (model, prepared, settings) in RUNS.items():
        folder = os.path.join(out, name.replace(" ", "-").lower())
        config = TrainConfig.read(
            None, settings, data=os.path.join(data, prepared), model=model, out=folder
        )
        with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the table
            report = train(config)
        test = evaluate_run(folder)
        rows.append(
            f"| {name} | {test['auc']:.4f} | {test['log_loss']:.4f} "
            f"| {report['best_round']} of {report['rounds']} |"
        )
        print(rows[-1], flush=True)
    print("\n| model | AUC | log loss | best pass |\n|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
