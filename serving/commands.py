"""The commands of serving for `ctr-keras`; what is heavy is imported when one is called."""

import base64
import dataclasses
import json
import posixpath
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import click

from ctr_keras.options import ExistingFolder, ExistingRun, NewFolder
from ctr_keras.version import __version__

_EXISTING_FOLDER = ExistingFolder()
_CONFIG, _URL = (
    "The models.config that `deploy` wrote.",
    "A server that takes it at once, grpc://HOST:PORT.",
)


@click.command()
@click.option("--run", "run_folder", required=True, type=ExistingRun(), help="The run.")
@click.option(
    "--out", required=True, help="The model's folder: models/NAME, also at an address (gs://...)."
)
@click.option("--data", type=_EXISTING_FOLDER, help="Prepared data. [default: those of the run]")
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
@click.option(
    "--format",
    default="savedmodel",
    show_default=True,
    type=click.Choice(["savedmodel", "onnx"]),
    help="For servers, or for ONNX Runtime in Python (with ctr-keras[onnx]).",
)
@click.option("--int8", is_flag=True, help="Round tables and dense kernels to int8.")
@click.option("--label", help="A label to give to the version, such as canary; with --config.")
@click.option("--config", help=_CONFIG)
@click.option("--url", help=_URL)
def export(
    run_folder: str,
    out: str,
    data: str | None,
    item_columns: str,
    label: str | None,
    config: str | None,
    url: str | None,
    **settings: Any,
) -> None:
    """Export a run as the next version of a served model.

    The version is published only if it serves the scores of the run, and its AUC is not below that
    of the version in place by more than the margin. With --label and --config it gets a label, as
    `promote` moves one; with --url a server loads it first.
    """
    if bool(label) != bool(config) or (url and not label):
        raise click.UsageError("--label and --config go together, and --url with both")
    model = posixpath.basename(out.rstrip("/"))
    if label and config:
        from serving.deploy import assign, check_labelling

        if settings["format"] == "onnx":
            raise click.UsageError("--label is for servers, which do not read versions for ONNX")
        check_labelling(config, model, url)

    from serving.export import ExportOptions, export_run

    options = ExportOptions(_names(item_columns), **settings)
    version = export_run(run_folder, out, options, data)
    click.echo(version)
    if label and config:
        labels = assign(config, model, label, int(posixpath.basename(version)), url)
        click.echo(json.dumps(labels))


def _names(option: str) -> tuple[str, ...]:
    """The names in an option, which has commas between them."""
    return tuple(name.strip() for name in option.split(",") if name.strip())


@click.command()
@click.option("--run", required=True, type=ExistingRun(), help="The run.")
@click.option("--source", required=True, help="Raw file, folder or pattern, as `prepare` reads.")
@click.option("--out", required=True, help="File to write: .parquet or .csv.")
@click.option("--keep", metavar="A,B,...", default="", help="Columns to write next to the score.")
@click.option("--data", type=_EXISTING_FOLDER, help="Prepared data. [default: those of the run]")
@click.option(
    "--columns",
    metavar="A,B,...",
    default="",
    help="Names of all columns of files without a header. [default: those of the log]",
)
def score(keep: str, columns: str, **arguments: Any) -> None:
    """Score raw files without a server.

    By the graph that is served; labels are not needed. Every row of the files is a row of the
    output: its score, or why it was rejected.
    """
    from serving.scoring import score_files

    counts = score_files(keep=_names(keep), columns=_names(columns), **arguments)
    click.echo(json.dumps(counts, indent=2))


@click.command()
@click.option("--log", required=True, type=_EXISTING_FOLDER, help="Folder of logged requests.")
@click.option("--data", required=True, type=_EXISTING_FOLDER, help="Prepared data.")
@click.option("--model", help="Whose requests. [default: those of the only model]")
@click.option(
    "--limit",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="How far a feature may be from training.",
)
@click.option("--out", help="File for the page.")
@click.pass_context
def drift(
    ctx: click.Context, log: str, data: str, model: str | None, limit: float, out: str | None
) -> None:
    """Compare logged requests with the rows of training.

    Prints a line for each feature whose values, or how many are missing or new to training, differ
    by more than the limit, and fails if there is any.
    """
    from serving.drift import measure_drift

    found = measure_drift(log, data, model)
    for line in found.unread:
        click.echo(f"Warning: {line}", err=True)
    if out:
        found.write_page(out)
    score = "" if found.score is None else f", mean score {found.score:.4f}"
    rate = "" if found.click_rate is None else f", click rate of training {found.click_rate:.4f}"
    click.echo(f"{found.model}: {found.rows:,} rows{score}{rate}")
    broken = found.broken(limit)
    for line in broken:
        click.echo(f"{line}, allowed {limit:g}")
    ctx.exit(1 if broken else 0)


@click.command()
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
    """Compare ids and scores of a server with those of training.

    Prints a line for each column and one for all of them, and fails if there is any difference.
    """
    from serving.verify import verify as compare

    count, different = 0, set()
    for comparison in compare(folder, data, model=model, urls=urls):
        click.echo(comparison)
        count += 1
        if comparison.different:
            different.add(f"{comparison.model} {comparison.column}")
    if not different:
        click.echo(f"No difference in {count} comparisons")
        return
    click.echo(f"DIFFERENT in {count} comparisons: {', '.join(sorted(different))}")
    ctx.exit(1)


def _server_flags(command: Callable[..., None]) -> Callable[..., None]:
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


@click.command()
@_server_flags
@click.version_option(__version__)
def serve(**flags: Any) -> None:
    """Serve models over REST and gRPC, as TensorFlow Serving does.

    Takes a folder with --models, or what to serve by TensorFlow Serving's own flags.
    """
    from serving.server.options import Options

    options = Options(**flags)  # what is wrong with them is said before TensorFlow is imported

    from serving.server.access_log import set_up_logging
    from serving.server.server import serve as run

    set_up_logging(options.log_format)
    for line in options.without_effect():
        click.echo(line, err=True)
    models = flags.pop("models")
    run(models, **flags)


@click.command()
@click.option("--models", "folder", required=True, type=_EXISTING_FOLDER, help="Folder of models.")
@click.option("--out", required=True, type=NewFolder(), help="Folder for the files.")
@click.option("--name", default="tensorflow-serving", show_default=True, help="Of the service.")
@click.option("--image", help="Container image with its version.")
@click.option(
    "--base-path",
    default="/models",
    show_default=True,
    help="Where the server finds the models: the container's folder, or an address (gs://...).",
)
@click.option("--copy-from", help="An address (gs://, s3://) whose models each pod copies.")
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
    """Write what the real TensorFlow Serving needs to serve models.

    Its configuration files, a Docker Compose file, Kubernetes manifests with autoscaling on
    latency, and a README that says how to use them.
    """
    from serving.deploy import Deployment, write_deployment

    if image is not None:
        settings["image"] = image
    deployment = Deployment(folder, labels=_read_labels(labels), **settings)
    for path in write_deployment(deployment, out):
        click.echo(path)


def _read_labels(options: tuple[str, ...]) -> dict[str, dict[str, int]]:
    labels: dict[str, dict[str, int]] = {}
    for option in options:
        match = re.fullmatch(r"(.+):([^:=]+)=([0-9]+)", option)
        if match is None:
            raise ValueError(f"expected MODEL:LABEL=VERSION, got {option}")
        model, label, version = match.groups()
        labels.setdefault(model, {})[label] = int(version)
    return labels


_config = click.option("--config", required=True, help=_CONFIG)
_reloaded = click.option("--url", help=_URL)


@click.command()
@_config
@click.option("--model", required=True, help="The model's name.")
@click.option("--label", required=True, help="The label of the version, such as canary.")
@click.option("--to", required=True, help="The label to move there, such as stable.")
@_reloaded
def promote(**arguments: Any) -> None:
    """Move a label to the version of another.

    The version that it stood for before stays served, for `rollback`. A server that refuses leaves
    the file as it is.
    """
    from serving.deploy import promote as run

    click.echo(json.dumps(run(**arguments)))


@click.command()
@_config
@click.option("--model", required=True, help="The model's name.")
@click.option("--label", required=True, help="The label to move back, such as stable.")
@_reloaded
def rollback(**arguments: Any) -> None:
    """Move a label back to the version before `promote`."""
    from serving.deploy import rollback as run

    click.echo(json.dumps(run(**arguments)))


@click.command()
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
@click.option("--wait", type=float, help="Seconds to wait for the model, such as at a start.")
def predict(
    url: str,
    model: str,
    rows: BinaryIO,
    signature: str,
    timeout: float,
    ignore: tuple[str, ...],
    wait: float | None,
) -> None:
    """Score raw rows: a JSON object a line in, a score a line out."""
    from serving.client import Client, predict_rows

    if wait is not None:
        with Client(url) as client:
            client.wait_until_available(model, timeout=wait)
    predictions = predict_rows(
        url, model, _read_rows(rows), signature_name=signature, timeout=timeout, ignore=ignore
    )
    for prediction in predictions:
        click.echo(json.dumps(prediction, default=_base64))


def _read_rows(file: Iterable[bytes | str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: expected an object of columns, got {row!r}")
        yield row


def _base64(value: bytes) -> dict[str, str]:
    """Bytes in JSON as TensorFlow Serving writes them."""
    return {"b64": base64.b64encode(value).decode()}
