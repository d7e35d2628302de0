"""The main job from one command: a click log, TFRecords, AutoInt, a SavedModel, a scored request.

Every step is the `ctr-keras` command that it prints, so each can be run again by hand. What is done
already in the folder is not done again.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request

_COMMAND = [sys.executable, "-m", "ctr_keras.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="demo", type=pathlib.Path)
    parser.add_argument("--rows", default=100_000, type=int)
    arguments = parser.parse_args()
    folder = arguments.folder
    log, prepared, run, models = (folder / n for n in ("log", "prepared", "run", "models"))

    if not (log / "truth.json").exists():
        ctr_keras("synthesize", "--rows", arguments.rows, "--out", log)
    ctr_keras("prepare", "--dataset", "synthetic", "--source", log, "--out", prepared)
    chosen = ("variant=official", "layers=2", "head_dim=16", "embedding_dropout=0.1")
    chosen += ("learning_rate=0.003", "epochs=6")
    settings = [word for setting in chosen for word in ("--set", setting)]
    ctr_keras("train", "--data", prepared, "--model", "AutoInt", "--out", run, *settings)
    metrics = json.loads(ctr_keras("evaluate", "--run", run, "--split", "test"))
    ctr_keras("export", "--run", run, "--out", models / "ctr")
    truth = json.loads((log / "truth.json").read_text())
    print(f"\ntest AUC {metrics['auc']:.4f}, log loss {metrics['log_loss']:.4f}")
    print(f"the log's truth reaches {truth['best_auc']:.4f} and {truth['best_log_loss']:.4f}\n")
    score_one_request(models, prepared)


def ctr_keras(*arguments: object) -> str:
    """Runs a command, shows it and returns what it prints."""
    words = [str(argument) for argument in arguments]
    print("$ ctr-keras", *words, flush=True)
    result = subprocess.run([*_COMMAND, *words], stdout=subprocess.PIPE, text=True, check=True)
    print(result.stdout, flush=True)
    return result.stdout


def score_one_request(models: pathlib.Path, prepared: pathlib.Path) -> None:
    """Starts the server, sends one raw row as any client would, stops the server."""
    row = json.loads((prepared / "samples.jsonl").read_text().splitlines()[0])
    missing = {"": "", None: float("nan")}  # JSON's NaN token, as TensorFlow Serving reads it
    row = {column: missing.get(value, value) for column, value in row.items()}
    words = ["serve", "--models", str(models), "--rest_api_port", "0", "--port", "0"]
    print("$ ctr-keras", *words, flush=True)
    with subprocess.Popen([*_COMMAND, *words], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = re.search(r"http://[^ ,/]+", server.stdout.readline())[0]
            request = urllib.request.Request(
                f"{url}/v1/models/ctr:predict", json.dumps({"instances": [row]}).encode()
            )
            print(f"$ curl -d '{json.dumps({'instances': [row]})}' {request.full_url}")
            print(urllib.request.urlopen(request, timeout=30).read().decode())
        finally:
            server.terminate()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
