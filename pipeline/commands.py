"""The commands of the pipeline for `ctr-keras`. The options of one are the arguments of a function,
which is imported when the command is called."""

import json
from typing import Any

import click

from pipeline.datasets import DATASETS


@click.command()
@click.option("--rows", required=True, type=click.IntRange(1), help="Rows in all.")
@click.option(
    "--out", "path", required=True, type=click.Path(file_okay=False), help="Folder for the log."
)
@click.option("--seed", default=0, show_default=True, help="Another seed, another log.")
@click.option(
    "--broken", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Share to spoil."
)
def synthesize(**arguments: Any) -> None:
    """Write a synthetic click log whose truth is known."""
    from pipeline.datasets.synthetic import write_synthetic_log

    write_synthetic_log(**arguments)


@click.command()
@click.option("--source", required=True, help="File, folder or pattern of the raw logs.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="YAML file to write.")
@click.option("--label", metavar="COLUMN", help="The column to predict, if it is not clear.")
@click.option("--columns", metavar="A,B,...", help="Names of all columns, if there is no header.")
@click.option("--force", is_flag=True, help="Replace a file of that name.")
def init(source: str, out: str, label: str | None, columns: str | None, force: bool) -> None:
    """Guess a declaration from a look at raw logs."""
    from pipeline.guessing import write_declaration

    names = [name.strip() for name in columns.split(",")] if columns else []
    click.echo(write_declaration(source, out, label, names, force), nl=False)
    click.echo(f"# {out}; next: ctr-keras prepare --dataset {out} --source {source} --out FOLDER")


@click.command()
@click.option("--data", required=True, help="Folder of prepared data.")
@click.option("--out", help="HTML page to write.  [default: statistics.html in that folder]")
@click.option(
    "--against",
    metavar="FOLDER",
    help="Compare all rows with the training rows and the schema of an earlier prepared folder.",
)
def stats(data: str, out: str | None, against: str | None) -> None:
    """Show what prepared data hold, as a page."""
    from pipeline.statistics.page import show

    for line in show(data, out, against):
        click.echo(line)


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=f"Built-in data sets: {', '.join(DATASETS)}.",
)
@click.option("--dataset", help="A built-in data set's name, or a YAML file.")
@click.option("--source", required=True, help="File, folder or pattern of the raw logs.")
@click.option("--out", required=True, help="Folder to write.")
@click.option(
    "--like",
    metavar="FOLDER",
    help="Transform new rows as those of an earlier prepared folder, whose data set they are of.",
)
@click.option("--grow", is_flag=True, help="With --like: append new values to its vocabularies.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="With --like: all new rows in one split, instead of as declared.",
)
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
def prepare(**arguments: Any) -> None:
    """Transform raw logs into TFRecords.

    Further options go to Apache Beam: --runner DataflowRunner --project P --region R ...
    """
    from pipeline.prepare import prepare as run

    report = run(**arguments)
    if "rows" not in report:
        click.echo(f"The job is translated, and {arguments['out']} is not written.")
        return
    shown = {key: report[key] for key in ("rows", "rejected_because", "id_count")}
    click.echo(json.dumps(shown, indent=2))
    for warning in report["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
