"""The main job from one command: a click log, TFRecords, models, a SavedModel, a scored request.

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

MODELS = ("LR", "FM", "DeepFM")
_COMMAND = [sys.executable, "-m", "ctr_keras.cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="demo", type=pathlib.Path)
    parser.add_argument("--rows", default=100_000, type=int)
    arguments = parser.parse_args()
    folder = arguments.folder
    log, prepared, runs, models = (folder / n for n in ("log", "prepared", "runs", "models"))

    if not (log / "truth.json").exists():
        ctr_keras("synthesize", "--rows", arguments.rows, "--out", log)
    ctr_keras("prepare", "--dataset", "synthetic", "--source", log, "--out", prepared)
    reached = {}
    for model in MODELS:
        ctr_keras("train", "--data", prepared, "--model", model, "--out", runs / model)
        reached[model] = json.loads(ctr_keras("evaluate", "--run", runs / model))
    best = max(reached, key=lambda model: reached[model]["auc"])
    ctr_keras("export", "--run", runs / best, "--out", models / "ctr")
    print("on the test split" + "AUC".rjust(9) + "log loss".rjust(11))
    for model, metrics in reached.items():
        print(f"{model:<17}{metrics['auc']:9.4f}{metrics['log_loss']:11.4f}")
    truth = json.loads((log / "truth.json").read_text())
    print(f"{'the truth':<17}{truth['best_auc']:9.4f}{truth['best_log_loss']:11.4f}\n")
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
