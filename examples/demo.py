"""What this library does, on a click log whose truth is known: from raw logs to a scored request.

Logistic regression and a factorization machine miss what decides a click, which pairs of fields
meet. A search looks for these pairs among all 741, and a model on what it finds alone comes near
the truth.
Every step is a command, which is printed when it is done, so each can be run again by hand; what
they say is in `log.txt`. What is done already in the folder is not done again.
"""

import argparse
import contextlib
import csv
import io
import json
import multiprocessing
import pathlib
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import click
import numpy as np
from matplotlib.figure import Figure

from ctr_keras.quiet import quiet_tensorflow

_COMMAND = [sys.executable, "-m", "ctr_keras.cli"]
_OTHER_PROCESS = ("synthesize", "prepare")  # TensorFlow Transform brings a Keras of its own
# The smallest that learns, in half a minute next to the search.
_ATTENTION = [f"--set={one}" for one in ("layers=1", "head_dim=16", "batch_size=1024", "epochs=4")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="demo", type=pathlib.Path)
    parser.add_argument("--rows", default=100_000, type=int)
    parser.add_argument("--seed", default=0, type=int, help="Another seed, another log.")
    arguments = parser.parse_args()
    quiet_tensorflow()
    try:
        Demo(arguments.folder).run(arguments.rows, arguments.seed)
    except click.ClickException as error:  # of a command: it failed, or was stopped
        error.show()
        sys.exit(error.exit_code)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)} failed; why is in {arguments.folder / 'log.txt'}")
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on with what is not done.")


class Demo:
    """The steps, in a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._log = folder / "log"
        self._data = folder / "prepared"
        self._search = folder / "search"
        self._runs = folder / "runs"
        self._models = folder / "models"
        self._said = folder / "log.txt"
        self._page = folder / "page"
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, rows: int, seed: int) -> None:
        print("Commands by two processes, each with its time when it is done:", flush=True)
        if not (self._log / "truth.json").exists():
            self._ctr_keras("synthesize", "--rows", rows, "--seed", seed, "--out", self._log)
        self._ctr_keras(
            "prepare", "--dataset", "synthetic", "--source", self._log, "--out", self._data
        )
        spawn = multiprocessing.get_context("spawn")
        beside = ProcessPoolExecutor(1, spawn, initializer=quiet_tensorflow)
        peers = beside.submit(self._peers)
        beside.shutdown(wait=False)  # it ends when that is done
        found = self._searched()
        explained = self._request()
        reached = {**peers.result(), "factorization machine, the pairs found": found}
        truth = json.loads((self._log / "truth.json").read_text())
        reached["the truth"] = {"auc": truth["best_auc"], "log_loss": truth["best_log_loss"]}
        self._show(reached, truth["planted_pairs"], explained)

    def _peers(self) -> dict[str, dict[str, float]]:
        """What models reach that know nothing of the pairs."""
        return {
            "logistic regression": self._trained("LR"),
            "factorization machine, all pairs": self._trained("FM"),
            "AutoInt+": self._trained("AutoIntPlus", *_ATTENTION),
        }

    def _searched(self) -> dict[str, float]:
        """Searches, and exports what was trained on the pairs found: what it reaches."""
        search = ("--method", "autofis", "--base", "FM", "--out", self._search)
        self._ctr_keras("search", "--data", self._data, *search)
        plan = self._search / "plan.json"
        if not json.loads(plan.read_text())["interactions"]:
            raise click.ClickException(
                "the search keeps no pair: so few rows do not tell it from noise. Take another "
                "folder and more rows, such as 100000"
            )
        reached = self._trained("FM", f"--set=interactions={plan}", name="found")
        if not (self._models / "ctr").exists():
            self._ctr_keras("export", "--run", self._runs / "found", "--out", self._models / "ctr")
        return reached

    def _trained(self, model: str, *settings: str, name: str = "") -> dict[str, float]:
        """What a model reaches on the test split."""
        run = self._runs / (name or model)
        self._ctr_keras("train", "--data", self._data, "--model", model, "--out", run, *settings)
        return dict(json.loads(self._ctr_keras("evaluate", "--run", run)))

    def _ctr_keras(self, *arguments: object) -> str:
        """Runs a command; returns what it prints."""
        words = [str(argument) for argument in arguments]
        with _timed(f"ctr-keras {' '.join(words)}"), self._said.open("a") as said:
            if words[0] in _OTHER_PROCESS:
                command = [*_COMMAND, *words]
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=said, text=True, check=True
                )
                return done.stdout
            from ctr_keras.cli import main as ctr_keras

            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()) as out:
                ctr_keras(words, standalone_mode=False)
            return out.getvalue()

    def _request(self) -> dict[str, Any]:
        """Starts the server, sends one raw row as any client would, stops the server."""
        row = json.loads((self._data / "samples.jsonl").read_text().splitlines()[0])
        missing = {"": "", None: float("nan")}  # JSON's NaN token, as TensorFlow Serving reads it
        row = {column: missing.get(value, value) for column, value in row.items()}
        body = json.dumps({"instances": [row], "signature_name": "explain"})
        words = ["serve", "--models", str(self._models), "--rest_api_port", "0", "--port", "0"]
        with (
            _timed(f"ctr-keras {' '.join(words)}, and a request"),
            self._said.open("a") as said,
            subprocess.Popen(
                [*_COMMAND, *words], stdout=subprocess.PIPE, stderr=said, text=True
            ) as server,
        ):
            try:
                assert server.stdout is not None
                url = re.search(r"http://[^ ,/]+", server.stdout.readline())
                assert url is not None
                request = urllib.request.Request(f"{url[0]}/v1/models/ctr:predict", body.encode())
                answer = json.loads(urllib.request.urlopen(request, timeout=30).read())
            finally:
                server.terminate()
        return dict(answer["predictions"][0])

    def _show(
        self,
        reached: Mapping[str, Mapping[str, float]],
        planted: list[list[str]],
        explained: Mapping[str, Any],
    ) -> None:
        """Prints the table, and writes the page."""
        from ctr_keras.explain.folder import write_page

        width = max(map(len, reached))
        print(f"\n{'on the test split':<{width}}" + "AUC".rjust(9) + "log loss".rjust(11))
        for name, metrics in reached.items():
            print(f"{name:<{width}}{metrics['auc']:9.4f}{metrics['log_loss']:11.4f}")
        facts = [
            ("planted pairs", ", ".join(" x ".join(pair) for pair in planted)),
            ("the request's score", f"{explained['score']:.4f}"),
        ]
        pictures = [_metrics(reached), _gates(self._search, planted), _terms(explained)]
        page = write_page(str(self._page), "A log whose truth is known", facts, pictures)[-1]
        print(f"\nall of it on one page: {page}")


@contextlib.contextmanager
def _timed(command: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"$ {command}  # {time.monotonic() - started:.0f} s", flush=True)


def _metrics(reached: Mapping[str, Mapping[str, float]]) -> Any:
    from ctr_keras.explain.page import Picture

    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    names = [*reached][::-1]
    values = [reached[name]["auc"] for name in names]
    axes.barh(names, values, color=["tab:gray", *["tab:blue"] * (len(names) - 1)])
    axes.set_xlim(min(values) - 0.05, max(values) + 0.02)
    axes.set_xlabel("AUC of the test split")
    caption = (
        "No model can be better than the truth but by chance. A factorization machine has all "
        "pairs of fields, most of them noise; on the few that the search kept it comes near."
    )
    rows = [(name, metrics["auc"], metrics["log_loss"]) for name, metrics in reached.items()]
    return Picture(
        "metrics", "Models and the truth", caption, figure, ("model", "AUC", "log loss"), rows, True
    )


def _gates(search: pathlib.Path, planted: list[list[str]]) -> Any:
    from ctr_keras.explain import figures
    from ctr_keras.explain.page import Picture
    from ctr_keras.features import FeatureSet

    fields = list(FeatureSet.load(search / "features.json").field_names)
    with (search / "gates.csv").open() as file:
        last = {row["gate"]: float(row["value"]) for row in csv.DictReader(file)}
    gates = np.full((len(fields), len(fields)), np.nan)
    for name, value in last.items():
        first, second = (fields.index(field) for field in name.partition(",")[0].split(" x "))
        gates[first, second] = gates[second, first] = value or np.nan
    limit = float(np.nanmax(np.abs(gates)))
    figure = figures.gate_map(
        gates, fields, limit, "Gates at the end of the search; circles are the truth"
    )
    pairs = [(fields.index(first), fields.index(second)) for first, second in planted]
    both = np.array([*pairs, *(pair[::-1] for pair in pairs)]) + 0.5
    figure.axes[0].scatter(*both.T, s=90, facecolors="none", edgecolors="black", linewidths=1.5)
    with (search / "kept.csv").open() as file:
        kept = [
            (row["fields"], float(row["gate"]), float(row["effect"]))
            for row in csv.DictReader(file)
        ]
    caption = (
        f"A gate for each of {len(last)} pairs. The search keeps {len(kept)}, those of the table: "
        "as few of the largest as predict the validation rows. Without one, the log loss is higher "
        f"by its effect. {_in_words(planted, [fields for fields, _, _ in kept])}"
    )
    return Picture(
        "gates", "What the search found", caption, figure, ("pair", "gate", "effect"), kept, True
    )


def _in_words(planted: list[list[str]], kept: list[str]) -> str:
    """Which of the planted pairs were kept, in words."""
    missed = [pair for pair in map(" x ".join, planted) if pair not in kept]
    if not missed:
        return f"All {len(planted)} planted pairs are among them."
    found = len(planted) - len(missed)
    return f"{found} of {len(planted)} planted pairs are among them, not {', '.join(missed)}."


def _terms(explained: Mapping[str, Any]) -> Any:
    from ctr_keras.explain import figures
    from ctr_keras.explain.page import Picture

    names, terms = explained["interactions"], explained["gated_terms"]
    figure = figures.gate_bars(names, terms, f"Score {explained['score']:.4f}")
    caption = "What each interaction adds to the log odds of the request's row, as served."
    rows = list(zip(names, terms, strict=True))
    return Picture(
        "request", "One request, explained", caption, figure, ("interaction", "adds"), rows, True
    )


if __name__ == "__main__":
    main()
