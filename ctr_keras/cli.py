"""The `ctr-keras` command: thin calls into public functions.

Commands of other packages are found by the entry points of the group `ctr_keras.commands`, and
heavy libraries are imported by the command that needs them, so that `--help` is instant.
"""

import contextlib
import functools
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import click

from ctr_keras.files import exists
from ctr_keras.options import ExistingFolder, ExistingRun, NewFolder
from ctr_keras.quiet import quiet_tensorflow
from ctr_keras.version import __version__

_EXTRAS = {  # modules that `pip install ctr-keras` leaves out; `explain` names its own
    **dict.fromkeys(("apache_beam", "tensorflow_transform"), "pipeline"),
    **dict.fromkeys(("jinja2", "pyarrow", "scipy"), "plots"),
    "optuna": "tune",
    "lightgbm": "trees",
    **dict.fromkeys(("aiohttp", "grpc", "grpc_health", "httpx", "tensorflow_serving"), "serving"),
}


class _Stopped(click.ClickException):
    """Someone pressed Ctrl-C."""

    exit_code = 130  # as shells have it of SIGINT

    def show(self, file: Any = None) -> None:
        click.echo(f"\nStopped. {self.message}", err=True)


class _Misused(click.ClickException):
    """What Click says in four lines of a command that it does not understand, in one."""

    exit_code = 2

    def __init__(self, error: click.UsageError) -> None:
        said = error.format_message()
        end = "" if said.endswith((".", "?")) else "."
        where = f" See `{error.ctx.command_path} --help`." if error.ctx else ""
        super().__init__(f"{said}{end}{where}")


class _Group(click.Group):
    """Own commands and those of entry points; errors that users can mend are one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *_entry_points().names})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands and name in (found := _entry_points()).names:
            _import_own(_package_of(name))
            self.add_command(found[name].load(), name)
        return super().get_command(ctx, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from ctr_keras.settings import did_you_mean

            hint = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"No such command {name!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            raise _Misused(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _Misused(error) from None
        # Click's own business: two RuntimeErrors, and a reader such as `head` that has gone.
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise _Stopped("The same command goes on where it can, or starts over.") from None
        except ModuleNotFoundError as error:
            extra = _extra_of(error.name, _package_of(ctx.invoked_subcommand))
            raise click.ClickException(f"{error.msg}{extra}") from error
        except (ValueError, OSError, RuntimeError) as error:
            raise click.ClickException(_said(error)) from error


def _said(error: Exception) -> str:
    """What an error says; one of the system without its number, as every other line begins."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _entry_points() -> metadata.EntryPoints:
    return metadata.entry_points(group="ctr_keras.commands")


def _import_own(package: str) -> None:
    """Imports a package that is installed next to this one from there: `serving` and `pipeline` are
    names that folders of a user may have, too, and those would come first on the path."""
    folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), package)
    path = os.path.join(folder, "__init__.py")
    if package in sys.modules or not os.path.exists(path):
        return
    spec = importlib.util.spec_from_file_location(
        package, path, submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[package] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[package])


def _package_of(command: str | None) -> str:
    """The package that has a command, `""` for this one."""
    found = _entry_points()
    return found[command].module.partition(".")[0] if command in found.names else ""


def _extra_of(module: str | None, package: str) -> str:
    """How to have a module: an extra named as the command's package brings all that it needs."""
    extra = _EXTRAS.get((module or "").partition(".")[0])
    extra = package if extra and package else extra
    return f": pip install 'ctr-keras[{extra}]'" if extra else ""


# Options that several commands have.

_REPLICATES = click.IntRange(100)  # of fewer, a quantile of 2.5% is the least of them or so


def _complete_model(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """The models whose names begin as what is typed, in any case."""
    from ctr_keras.listing import trainable

    return [name for name in trainable() if name.lower().startswith(begun.lower())]


_model = click.option(
    "--model", help="A model's name; see `ctr-keras models`.", shell_complete=_complete_model
)
_existing_folder = functools.partial(click.option, type=ExistingFolder())
_data = functools.partial(_existing_folder, "--data")
_run = functools.partial(click.option, "--run", "run_folder", required=True, type=ExistingRun())
_split = functools.partial(
    click.option,
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["train", "validation", "test"]),
)
_out = functools.partial(click.option, "--out", required=True, type=NewFolder())
_weighted = functools.partial(
    click.option,
    "--weighted/--unweighted",
    default=None,
    help="Whether metrics weigh rows by the data set's weight. Default: if the run was trained "
    "with sample_weight.",
)


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """Settings from a file and one by one."""
    config = click.Path(exists=True, dir_okay=False)
    one = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="One setting; `ctr-keras models NAME` lists those of a model and of training.",
    )
    return click.option("--config", type=config, help="YAML settings.")(one(command))


def _compared(command: Callable[..., None]) -> Callable[..., None]:
    """How runs are compared."""
    split = _split(help="Rows to score.")
    by = click.option("--by", multiple=True, metavar="FIELD", help="AUC by a field's values, too.")
    replicates = click.option(
        "--replicates",
        default=1000,
        show_default=True,
        type=_REPLICATES,
        help="Of the bootstrap.",
    )
    return split(by(_weighted()(replicates(command))))


def _given(overrides: tuple[str, ...], **values: str | int | None) -> dict[str, str | int]:
    """The options that are given; a ValueError for one that is among the overrides, too."""
    given = {key: value for key, value in values.items() if value is not None}
    _check_given_once(overrides, given)
    return given


def _check_given_once(overrides: tuple[str, ...], options: Mapping[str, str | int]) -> None:
    for override in overrides:
        key = override.partition("=")[0]
        if key in options:
            raise ValueError(
                f"--set {override}: {key} is given twice, by --{key} {options[key]} too"
            )


@click.group(cls=_Group)
@click.version_option(__version__)
def main() -> None:
    """Click-through-rate models from raw logs to scored requests."""
    quiet_tensorflow()
    # Who gives a command is helped by what is said, not by the line of code that says it.
    warnings.formatwarning = lambda message, *_: f"Warning: {message}\n"


@main.command()
@click.argument("folders", nargs=-1, required=True, type=ExistingFolder())
@_out(help="Folder to write, also at an address (gs://...).", type=click.Path(file_okay=False))
def join(folders: tuple[str, ...], out: str) -> None:
    """Make prepared FOLDERS, such as those of several days, one.

    Their examples are read where they are. Features and vocabularies have to be the same, or
    grown from one another by `ctr-keras prepare --like --grow`.
    """
    from ctr_keras.partitions import join as run

    _print_json(run(folders, out)["rows"])


def _write_groups(
    formatter: click.HelpFormatter, groups: Mapping[str, list[tuple[str, str]]]
) -> None:
    for title, lines in groups.items():
        with formatter.section(title):
            formatter.write_dl(lines)


class _TrainCommand(click.Command):
    """Its help lists the settings, with `--model` also those of the model."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["given"] = [*args]  # `--help` is answered before the others are read
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ctr_keras.listing import settings_of_training

        given = " ".join(ctx.meta["given"]).replace("--model=", "--model ").split()
        model = given[given.index("--model") + 1] if "--model" in given[:-1] else None
        _write_groups(formatter, settings_of_training(model))


@main.command(cls=_TrainCommand)
@_data(help="Prepared data.")
@_model
@_out(help="The run's folder, also at an address (gs://...).", type=click.Path(file_okay=False))
@_settings
def train(
    data: str | None, model: str | None, out: str, config: str | None, overrides: tuple[str, ...]
) -> None:
    """Train a model; the same command again resumes or reports it.

    A run that was stopped may be given more or fewer epochs. Settings are given by --set or in a
    YAML file; those below have their defaults, and `--model NAME --help` adds those of a model.
    """
    from ctr_keras import early

    given = _given(overrides, data=data, model=model, out=out)
    early.check_run(config, overrides, **given)
    from ctr_keras import training

    settings = training.read_config(config, overrides, **given)
    with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the result
        try:
            report = training.train(settings)
        except KeyboardInterrupt:
            raise _Stopped(training.how_it_stands(settings)) from None
        if not exists(os.path.join(settings.out, "report.html")):
            _write_report(settings.out)
    _print_json(report)


def _write_report(run: str) -> None:
    """Writes the page of a run that has ended, which is no reason to fail."""
    try:
        from ctr_keras.compare.report import write_report

        print(f"report: {write_report(run)}")
    except ModuleNotFoundError as error:
        print(f"no report.html: {error.msg}{_extra_of(error.name, '')}")
    except (ValueError, OSError) as error:
        print(f"no report.html: {_said(error)}")


@main.command()
@_run(help="The run.", type=click.Path(file_okay=False))
@click.option("--by", multiple=True, metavar="FIELD", help="AUC by a field's values, too.")
@_data(help="Other prepared data.")
def report(run_folder: str, by: tuple[str, ...], data: str | None) -> None:
    """Write report.html into a run's folder.

    Settings, learning curves, metrics with intervals, calibration, importance, gates and
    attention on one page. `train` writes it, too, without the values of a field.
    """
    if not exists(run_folder):  # said before all is imported that draws
        raise FileNotFoundError(f"--run {run_folder} is not there")
    from ctr_keras.compare.report import write_report

    click.echo(write_report(run_folder, by, data))


class _SearchCommand(click.Command):
    """Its help lists the settings of the methods."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from ctr_keras.listing import settings_of_searches

        _write_groups(formatter, settings_of_searches())


@main.command(cls=_SearchCommand)
@_data(required=True, help="Prepared data.")
@click.option(
    "--method",
    required=True,
    metavar="NAME",
    help="autofis, aim, optinter, autofield, deeplight, optfs, autogroup or autofeature; random or "
    "statistics select as many as a plan (--set like=PLAN), to compare with.",
)
@click.option("--order", type=click.IntRange(2, 4), help="Highest order of interactions.")
@click.option("--base", help="AutoFIS' model: FM, DeepFM or IPNN; of DeepLight the first two.")
@_out(help="The search's folder.")
@_settings
def search(
    data: str,
    method: str,
    order: int | None,
    base: str | None,
    out: str,
    config: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Search the interactions or fields that a model keeps.

    The same command again resumes or reports it. Train on what was found with
    `ctr-keras train --set interactions=OUT/plan.json`.
    """
    from ctr_keras import early

    _check_given_once(overrides, {"data": data, "method": method, "out": out})
    given = _given(overrides, order=order, base=base)
    early.check_search(method, config, overrides, data, **given)
    from ctr_keras.search import read_search, run_search

    settings = read_search(method, config, overrides, **given)
    with contextlib.redirect_stdout(sys.stderr):  # the progress bar; stdout is for the result
        plan = run_search(method, settings, data, out)
    click.echo(plan.summary())


@main.command()
@_data(help="Prepared data.")
@_model
@_out(help="The study's folder.")
@click.option(
    "--trials", default=30, show_default=True, type=click.IntRange(1), help="Trials in all."
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="Runs of each finalist with other seeds.",
)
@click.option(
    "--finalists",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="Best trials to train again, next to the defaults; the best in the mean is chosen.",
)
@click.option(
    "--pruner",
    default="median",
    show_default=True,
    type=click.Choice(["median", "halving", "none"]),
    help="Which trials to stop early.",
)
@click.option(
    "--space",
    type=click.Path(exists=True, dir_okay=False),
    help="YAML of what to search; else what comes with the model.",
)
@_settings
def tune(
    data: str | None,
    model: str | None,
    out: str,
    config: str | None,
    overrides: tuple[str, ...],
    space: str | None,
    **study: Any,
) -> None:
    """Search the best settings of a model and its training.

    The same command again resumes or reports it; given at once in several processes, these share
    the trials. Settings that are given are fixed, all others of the space are searched.
    """
    from ctr_keras import early

    given: dict[str, Any] = {**_given(overrides, data=data, model=model, out=out)}
    early.check_run(config, overrides, **given)
    from ctr_keras import tuning

    settings = tuning.TuneConfig.read(config, overrides, space, **study, **given)
    with contextlib.redirect_stdout(sys.stderr):  # a line a trial; stdout is for the result
        tuning.tune(settings)
    with open(os.path.join(out, "summary.md"), encoding="utf-8") as file:
        click.echo(file.read(), nl=False)


@main.command()
@_run(help="The run.")
@_split(help="Rows to score.")
@_data(help="Other prepared data.")
@click.option("--by", multiple=True, metavar="FIELD", help="Measure by the values of a field, too.")
@click.option(
    "--group",
    metavar="FIELD",
    help="The user's field, for metrics by group. By default what the data set declares.",
)
@click.option(
    "--k",
    default=10,
    show_default=True,
    type=click.IntRange(1),
    help="Rows of a group that NDCG, MRR and recall look at.",
)
@click.option(
    "--buckets",
    default=0,
    type=click.IntRange(0),
    help="Buckets of rising scores by which to show calibration.",
)
@click.option(
    "--bootstrap",
    metavar="REPLICATES",
    type=_REPLICATES,
    default=None,
    callback=lambda context, option, value: value or 0,
    help="Intervals of 95%; of groups where there are any. 1000 are usual.",
)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option(
    "--baseline", type=ExistingRun(), help="Another run on the same data, to take RelaImpr over."
)
@_weighted()
@click.option(
    "--require",
    "limits",
    multiple=True,
    metavar="METRIC>=VALUE",
    help="A limit of a metric, such as 'auc>=0.7' or 'log_loss<=0.5', of several labels "
    "'click.auc>=0.7', which fails the command.",
)
@click.option(
    "--json/--table",
    "as_json",
    default=None,
    help="What to print. Default: a table on a terminal, else JSON.",
)
def evaluate(
    run_folder: str, as_json: bool | None, limits: tuple[str, ...], **options: Any
) -> None:
    """Print AUC, log loss, calibration and more of a run."""
    from ctr_keras import early
    from ctr_keras.limits import Limit

    required = [Limit.read(limit) for limit in limits]
    checked = {name: options[name] for name in ("by", "group", "k", "baseline")}
    early.check_evaluation(run_folder, required, **checked)
    from ctr_keras import training

    measured = training.evaluate_run(run_folder, **options)
    if as_json or (as_json is None and not sys.stdout.isatty()):
        _print_json(measured)
    else:
        click.echo(training.evaluation_table(measured))
    for limit in required:
        limit.check(measured)


@main.command()
@_run(help="The run or search.")
@_out(help="Folder for the pictures and their page.")
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
@_data(help="Its prepared data, if they have moved.")
@click.option("--other", help="Another search, or its plan.json, to compare the plan with.")
def explain(
    run_folder: str, out: str, rows: int, case: int, data: str | None, other: str | None
) -> None:
    """Draw gates, attention maps and how a search went.

    Writes PNG files and one HTML page, with methods and embedding widths where there are some.
    """
    from ctr_keras.explain import explain_run

    for path in explain_run(run_folder, out, rows, case, data, other):
        click.echo(path)


@main.command()
@_run(help="The run.")
@click.option("--out", type=NewFolder(), help="Folder for a table and a picture.")
@_split(help="Rows to permute and score.")
@_data(help="Other prepared data.")
@click.option(
    "--by",
    default="feature",
    show_default=True,
    type=click.Choice(["feature", "group"]),
    help="What to permute together.",
)
@click.option(
    "--repeats", default=5, show_default=True, type=click.IntRange(1), help="Permutations of each."
)
@click.option(
    "--rows", default=100_000, show_default=True, type=click.IntRange(1), help="Rows, at most."
)
@click.option("--label", metavar="NAME", help="The label to look at, of several.")
def importance(run_folder: str, out: str | None, **options: Any) -> None:
    """Print what a run loses without each feature.

    A feature's values are permuted among the rows (permutation importance).
    """
    from ctr_keras.explain.importance import run_importance, write_importance

    found = run_importance(run_folder, **options)
    width = max(len(of.name) for of in found)
    click.echo(f"{'feature':<{width}}  AUC lost (least to most)      log loss gained")
    for of in found:
        lost = f"{of.auc_drop:8.5f} ({of.auc_drop_low:8.5f} to {of.auc_drop_high:8.5f})"
        click.echo(f"{of.name:<{width}} {lost} {of.log_loss_rise:8.5f}")
    for path in write_importance(found, out) if out else ():
        click.echo(path)


@main.command()
@_run(help="The run.")
@_out(help="Folder for the files.")
@_data(help="Its prepared data, if they have moved.")
def embeddings(run_folder: str, out: str, data: str | None) -> None:
    """Write a run's embeddings with their values as TSV and Parquet.

    `tensorboard --logdir OUT` shows the TSV files in its projector.
    """
    from ctr_keras.explain.embeddings import export_embeddings

    for path in export_embeddings(run_folder, out, data):
        click.echo(path)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=ExistingRun())
@_compared
@_data(help="Prepared data to score all runs on, if theirs have moved.")
@click.option("--label", metavar="NAME", help="The label to compare, where runs predict several.")
@click.option("--out", type=NewFolder(), help="Folder for the page, if any.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def compare(runs: tuple[str, ...], out: str | None, as_json: bool, **options: Any) -> None:
    """Compare runs on the same data: metrics, intervals, tests.

    Runs that differ in nothing but the seed are one row. Prints Markdown; with --out also writes
    one HTML page with pictures, Markdown and JSON.
    """
    _compare(runs, out, as_json, options)


@main.command()
@_data(required=True, help="Prepared data.")
@click.option("--models", required=True, metavar="A,B,...", help="Names, also LightGBM.")
@click.option(
    "--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each model."
)
@_out(help="Folder for the runs, and the page of their comparison.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="[MODEL.]KEY=VALUE",
    help="A setting of all models that have it, or of one; `ctr-keras models NAME` lists them.",
)
@_compared
def bench(data: str, models: str, seeds: int, out: str, overrides: Any, **options: Any) -> None:
    """Train models with several seeds, and compare them.

    The same command again goes on where it was; a run that fails does not stop the others.
    """
    from ctr_keras import early

    _check_given_once(overrides, {"data": data, "out": out})
    names = [name.strip() for name in models.split(",") if name.strip()]
    early.check_bench(data, names, options["by"])
    from ctr_keras.compare import Bench, run_bench

    settings = Bench(data, names, out, seeds, overrides)
    with contextlib.redirect_stdout(sys.stderr):
        finished, failed = run_bench(settings, lambda line: click.echo(line, err=True))
    if finished:
        _compare(finished, os.path.join(out, "comparison"), False, options)
    if failed:
        lines = "".join(f"\n{folder}: {reason}" for folder, reason in failed.items())
        raise click.ClickException(f"{len(failed)} runs failed:{lines}")


def _compare(runs: Any, out: str | None, as_json: bool, options: dict[str, Any]) -> None:
    from ctr_keras.compare import compare_runs, to_markdown

    if out is not None:
        from ctr_keras.compare.page import check_page, write_comparison

        check_page(out)
    with contextlib.redirect_stdout(sys.stderr):
        comparison = compare_runs(runs, **options)
    if out is not None:
        for path in write_comparison(comparison, out):
            click.echo(path, err=True)
    if as_json:
        _print_json(comparison.to_dict())
    else:
        click.echo(to_markdown(comparison), nl=False)


@main.command()
@click.argument("name", required=False)
def models(name: str | None) -> None:
    """List the models by family, or describe one and its settings."""
    from ctr_keras.listing import FAMILIES, settings_of_training, trainable
    from ctr_keras.outlines import docstrings
    from ctr_keras.presets import PRESETS
    from ctr_keras.settings import spelled

    available = trainable()
    if name is None:
        for family, title in FAMILIES.items():
            click.echo(f"{title}:")
            for known, entry in available.items():
                if entry.family == family:
                    needs = f"; needs {' and '.join(entry.needs)}" if entry.needs else ""
                    click.echo(f"  {known:<13}{entry.summary}{needs} [{entry.reference}]")
        return
    name = spelled("model", name, available)
    if name in docstrings():
        click.echo(docstrings()[name].partition("\nArgs:")[0])
    formatter = click.HelpFormatter(width=100)
    _write_groups(formatter, settings_of_training(name))
    click.echo(formatter.getvalue(), nl=False)
    for need in available[name].needs:
        click.echo(f"needs {need}")
    click.echo(f"crossed features: {available[name].crossed}")
    for preset, settings in PRESETS.get(name, {}).items():
        values = ", ".join(f"{key}={value}" for key, value in settings.items())
        click.echo(f"preset={preset}: {values}")


@main.command()
@click.argument("workflow", type=click.Path(exists=True, dir_okay=False))
@click.option("--list", "lists", is_flag=True, help="Print the commands, and run none.")
@click.option("--only", metavar="STEP", help="Run this one step.")
@click.option(
    "--to",
    type=click.Choice(["airflow", "kfp"]),
    help="Print the graph as a DAG of Airflow or a pipeline of Kubeflow, and run nothing.",
)
@click.option("--image", default="", help="Of the containers of --to, with ctr-keras[all].")
@click.pass_context
def run(
    context: click.Context, workflow: str, lists: bool, only: str | None, to: str | None, image: str
) -> None:
    """Run the steps of a YAML file, from raw logs to a served model.

    Steps that were run before, and of which nothing has changed, are not run again. What a step
    says is in the folder `logs`.
    """
    from ctr_keras.orchestrators import airflow_dag, kubeflow_pipeline
    from ctr_keras.workflow import read_workflow, run_workflow

    if to == "kfp" and not image:
        raise click.UsageError("--to kfp needs --image, one that has ctr-keras[all]")
    out, steps = read_workflow(workflow, lambda name: main.get_command(context, name))
    if lists:
        for step in steps:
            click.echo(step.command)
    elif to:
        write = airflow_dag if to == "airflow" else kubeflow_pipeline
        name = os.path.splitext(os.path.basename(workflow))[0]
        click.echo(write(workflow, name, [step.name for step in steps], image), nl=False)
    else:
        run_workflow(out, steps, click.echo, only)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    click.echo()


if __name__ == "__main__":
    main()
