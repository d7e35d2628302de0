"""The `ctr-keras` command: thin calls into public functions.

Heavy libraries are imported by the sub-command that needs them, so that `--help` is instant.
"""

import base64
import contextlib
import dataclasses
import json
import os
import re
import sys
import typing
from typing import Any

import click

from ctr_keras.version import __version__

_FOLDER = click.Path(file_okay=False)
_EXISTING_FOLDER = click.Path(exists=True, file_okay=False)


class _Group(click.Group):
    """Turns the errors that users can mend into one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):  # RuntimeErrors that are click's own business
            raise
        except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(__version__)
def main() -> None:
    """Click-through-rate models from raw logs to scored requests."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no C++ chatter between our lines


@main.command()
@click.option("--rows", required=True, type=click.IntRange(1), help="Rows in all.")
@click.option("--out", required=True, type=_FOLDER, help="Folder for the log.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another log.")
@click.option(
    "--broken", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Share to spoil."
)
def synthesize(rows: int, out: str, seed: int, broken: float) -> None:
    """Write a synthetic click log whose truth is known."""
    from pipeline.datasets.synthetic import write_synthetic_log

    write_synthetic_log(out, rows, seed, broken)


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--dataset", required=True, help="A built-in data set's name, or a YAML file.")
@click.option("--source", required=True, help="File, folder or pattern of the raw logs.")
@click.option("--out", required=True, help="Folder to write.")
@click.option(
    "--cross-min-count",
    type=click.IntRange(1),
    help="Cross all pairs of categorical columns; rarer pairs are out of vocabulary.",
)
@click.option(
    "--max-rejected",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of rows that may be bad.",
)
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def prepare(
    dataset: str,
    source: str,
    out: str,
    cross_min_count: int | None,
    max_rejected: float,
    beam_options: tuple[str, ...],
) -> None:
    """Transform raw logs into TFRecords.

    Further options go to Apache Beam: --runner DataflowRunner --project P --region R ...

    Built-in data sets: movielens-1m, movielens-1m-history, criteo, criteo-terabyte, avazu,
    synthetic.
    """
    from pipeline.prepare import prepare as run

    report = run(
        dataset,
        source,
        out,
        cross_min_count=cross_min_count,
        max_rejected=max_rejected,
        beam_options=beam_options,
    )
    _print_json({key: report[key] for key in ("rows", "rejected_because", "id_count")})


@main.command()
@click.option("--data", type=_EXISTING_FOLDER, help="Prepared data.")
@click.option("--model", help="A model's name; see `ctr-keras models`.")
@click.option("--out", required=True, type=_FOLDER, help="The run's folder.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="YAML settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def train(
    data: str | None, model: str | None, out: str, config: str | None, overrides: tuple[str, ...]
) -> None:
    """Train a model; the same command again resumes or reports it."""
    from ctr_keras import training

    given = {"data": data, "model": model, "out": out}
    settings = training.TrainConfig.read(
        config, overrides, **{k: v for k, v in given.items() if v is not None}
    )
    with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the result
        report = training.train(settings)
    _print_json(report)


@main.command()
@click.option("--data", required=True, type=_EXISTING_FOLDER, help="Prepared data.")
@click.option(
    "--method",
    required=True,
    type=click.Choice(["autofis", "aim", "optinter", "random", "statistics"]),
    help="The last two select as many as a plan (--set like=PLAN), to compare with.",
)
@click.option("--order", type=click.IntRange(2, 4), help="Highest order of interactions.")
@click.option("--base", help="AutoFIS' model: FM, DeepFM or IPNN.")
@click.option("--out", required=True, type=_FOLDER, help="The search's folder.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False), help="YAML settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def search(
    data: str,
    method: str,
    order: int | None,
    base: str | None,
    out: str,
    config: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Search the interactions a model keeps; the same command again resumes or reports it.

    Train on what was found with `ctr-keras train --set interactions=OUT/plan.json`.
    """
    from ctr_keras.search import read_search, run_search

    given = {key: value for key, value in (("order", order), ("base", base)) if value is not None}
    settings = read_search(method, config, overrides, **given)
    with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the result
        plan = run_search(method, settings, data, out)
    click.echo(plan.summary())


@main.command()
@click.option("--run", "run_folder", required=True, type=_EXISTING_FOLDER, help="The run.")
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["train", "validation", "test"]),
    help="Rows to score.",
)
@click.option("--data", type=_EXISTING_FOLDER, help="Other prepared data.")
def evaluate(run_folder: str, split: str, data: str | None) -> None:
    """Print AUC, log loss and calibration of a run as JSON."""
    from ctr_keras import training

    _print_json(training.evaluate_run(run_folder, split, data))


@main.command()
@click.option("--run", "run_folder", required=True, type=_EXISTING_FOLDER, help="Run or search.")
@click.option("--out", required=True, type=_FOLDER, help="Folder for the pictures and their page.")
@click.option(
    "--rows",
    default=100_000,
    show_default=True,
    type=click.IntRange(1),
    help="Rows of a split to count and average over, at most.",
)
@click.option(
    "--case",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Row of the test split whose attention to show.",
)
def explain(run_folder: str, out: str, rows: int, case: int) -> None:
    """Draw gates, methods, embedding widths and attention as PNG files and one HTML page."""
    from ctr_keras.explain import explain_run

    for path in explain_run(run_folder, out, rows, case):
        click.echo(path)


@main.command()
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the models, or the arguments and presets of the model NAME."""
    from ctr_keras.models import MODELS, model_arguments
    from ctr_keras.training import PRESETS

    if name is None:
        for known, entry in MODELS.items():
            click.echo(f"{known:<12} {entry.summary} [{entry.reference}]")
        return
    for argument, default in model_arguments(name).items():
        click.echo(f"{argument:<24} {default!r}")
    for preset, settings in PRESETS[name].items():
        values = ", ".join(f"{key}={value}" for key, value in settings.items())
        click.echo(f"preset={preset}: {values}")


@main.command()
@click.option("--run", "run_folder", required=True, type=_EXISTING_FOLDER, help="The run.")
@click.option("--out", required=True, type=_FOLDER, help="The model's folder: models/NAME.")
@click.option(
    "--item-columns",
    metavar="A,B,...",
    default="",
    help="Raw columns that differ by candidate in `rank`. [default: those of the group item]",
)
@click.option(
    "--margin",
    default=0.005,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="By how much the AUC on sample rows may be below that of the version in place.",
)
@click.option("--force", is_flag=True, help="Publish without comparing anything.")
def export(run_folder: str, out: str, item_columns: str, margin: float, force: bool) -> None:
    """Export a run as the next version of a served model.

    The version is published only if it serves the scores of the run, and its AUC is not below that
    of the version in place by more than the margin.
    """
    from serving.export.export import ExportOptions, export_run

    columns = tuple(name.strip() for name in item_columns.split(",") if name.strip())
    click.echo(export_run(run_folder, out, ExportOptions(columns, margin, force)))


@main.command()
@click.option("--models", "folder", required=True, type=_EXISTING_FOLDER, help="Folder of models.")
@click.option("--data", required=True, type=_EXISTING_FOLDER, help="Prepared data.")
@click.option("--model", help="The model to verify. [default: every model in the folder]")
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="A running server, http://... or grpc://...  [default: one is started]",
)
@click.pass_context
def verify(
    ctx: click.Context, folder: str, data: str, model: str | None, urls: tuple[str, ...]
) -> None:
    """Compare ids and scores of a running server with those of training time.

    Prints a line for each column, and fails if there is any difference.
    """
    from serving.export.verify import verify as compare

    differences = 0
    for comparison in compare(folder, data, model=model, urls=urls):
        click.echo(comparison)
        differences += comparison.different > 0
    if differences:
        ctx.exit(1)


def _server_flags(command: Any) -> Any:
    """Gives a command TensorFlow Serving's flags; one that is true or false needs no value."""
    from serving.server.options import Options

    for field in reversed(dataclasses.fields(Options)):
        given: dict[str, Any] = {"default": field.default, "help": field.metadata["help"]}
        given["show_default"] = field.default not in (None, "")
        kinds = typing.get_args(field.type) or (field.type,)
        if kinds[0] is bool:
            given.update(is_flag=False, flag_value=True)
        command = click.option(f"--{field.name}", field.name, type=kinds[0], **given)(command)
    return command


@main.command()
@_server_flags
@click.version_option(__version__)
def serve(**flags: Any) -> None:
    """Serve models over REST and gRPC, as TensorFlow Serving does.

    Takes a folder with --models, or what to serve by TensorFlow Serving's own flags.
    """
    import logging

    from serving.server.options import Options
    from serving.server.server import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for line in Options(**flags).without_effect():
        click.echo(line, err=True)
    models = flags.pop("models")
    run(models, **flags)


@main.command()
@click.option("--models", "folder", required=True, type=_EXISTING_FOLDER, help="Folder of models.")
@click.option("--out", required=True, type=_FOLDER, help="Folder for the files.")
@click.option("--name", default="tensorflow-serving", show_default=True, help="Of the service.")
@click.option("--image", help="Container image with its version.")
@click.option("--base-path", default="/models", show_default=True, help="The container's folder.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="MODEL:LABEL=VERSION",
    help="A version label, such as ctr:stable=3.",
)
@click.option("--batching", is_flag=True, help="Join requests of several callers.")
@click.option("--cpus", default=4, show_default=True, help="Cores of one server.")
@click.option("--latency-ms", default=20, show_default=True, help="95% of requests; scales above.")
@click.option("--replicas", nargs=2, default=(2, 10), show_default=True, help="Fewest and most.")
def deploy(
    folder: str, out: str, labels: tuple[str, ...], image: str | None, **settings: Any
) -> None:
    """Write what the real TensorFlow Serving needs to serve a folder of models.

    Its configuration files, a Docker Compose file, Kubernetes manifests with autoscaling on
    latency, and a README that says how to use them.
    """
    from serving.deploy import Deployment, write_deployment

    if image is not None:
        settings["image"] = image
    deployment = Deployment(folder, labels=_read_labels(labels), **settings)
    for path in write_deployment(deployment, out):
        click.echo(path)


@main.command()
@click.option(
    "--url",
    default="http://127.0.0.1:8501",
    show_default=True,
    help="The server: http:// for REST, grpc:// for gRPC.",
)
@click.option("--model", required=True, help="The model's name.")
@click.option("--rows", required=True, type=click.File("rb"), help="JSON lines; - is stdin.")
@click.option("--signature", default="serving_default", show_default=True, help="What to run.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds for each 512 rows.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="A column not to send.")
def predict(
    url: str, model: str, rows: Any, signature: str, timeout: float, ignore: tuple[str, ...]
) -> None:
    """Score raw rows: one JSON object a line in, one score a line out."""
    from serving.client import predict_rows

    predictions = predict_rows(
        url, model, _read_rows(rows), signature_name=signature, timeout=timeout, ignore=ignore
    )
    for prediction in predictions:
        click.echo(json.dumps(prediction, default=_base64))


def _base64(value: bytes) -> dict[str, str]:
    """Bytes in JSON as TensorFlow Serving writes them."""
    return {"b64": base64.b64encode(value).decode()}


def _read_rows(file: Any) -> Any:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: no JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: a row is an object of columns. Received: {row!r}")
        yield row


def _read_labels(texts: tuple[str, ...]) -> dict[str, dict[str, int]]:
    labels: dict[str, dict[str, int]] = {}
    for text in texts:
        match = re.fullmatch(r"(.+):([^:=]+)=([0-9]+)", text)
        if match is None:
            raise ValueError(f"a label is MODEL:LABEL=VERSION. Received: {text}")
        model, label, version = match.groups()
        labels.setdefault(model, {})[label] = int(version)
    return labels


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    click.echo()


if __name__ == "__main__":
    main()
