"""Where the Beam job runs: the options that Beam is given, checked before it starts."""

import argparse
import socket
from collections.abc import Iterator, Sequence
from typing import NoReturn, TypeVar

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
    TestOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from ctr_keras.files import exists, is_remote
from ctr_keras.settings import did_you_mean

T = TypeVar("T")

# Beam's own default would first try to fetch another runner from the network. A second thread uses
# the time in which the first waits for files or computes outside Python. To check the types of this
# one graph again in every run would only take time.
_LOCAL_OPTIONS = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--direct_running_mode=multi_threading",
    "--direct_num_workers=2",
    "--no_pipeline_type_check",
)
_LOCAL_RUNNERS = ("bundlebaseddirectrunner", "directrunner", "fnapirunner", "interactiverunner")
_OF_PREPARE = (
    *("--cross-min-count", "--dataset", "--grow", "--like", "--max-rejected", "--out"),
    *("--source", "--split"),
)
_ANSWER_SECONDS = 10.0
_OUR_CONTAINERS = ("EXTERNAL", "LOOPBACK", "PROCESS")  # or rather, none


def pipeline_options(given: Sequence[str]) -> PipelineOptions:
    """The options given, and those of a local run if they name no runner."""
    # Beam 2.77's local runner flushes what goes from step to step every second, from a thread of
    # its own, and loses what is written meanwhile. With 0 only the writer flushes. No other runner
    # reads this, and which ones end in the local one only Beam knows (`DirectRunner` does, where
    # Prism is not to be had), so it is set whatever the runner.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    options = PipelineOptions(list(given))
    if options.view_as(StandardOptions).runner is not None:
        return options
    return PipelineOptions([*_LOCAL_OPTIONS, *given])  # the last of two counts


def runs_here(options: PipelineOptions) -> bool:
    """Whether the runner's workers are threads and processes of this machine."""
    runner = options.view_as(StandardOptions).runner.rpartition(".")[2]
    return runner.lower() in _LOCAL_RUNNERS


def only_translates(options: PipelineOptions) -> bool:
    """Whether the job is written down or tried (`--template_location`, `--dry_run`), not run."""
    template = options.view_as(GoogleCloudOptions).template_location
    return bool(template or options.view_as(TestOptions).dry_run)


def check_options(given: Sequence[str], out: str) -> None:
    """Checks options for Beam before anything is done.

    Args:
        given: list of str. As in `--runner=DataflowRunner` or `--runner DataflowRunner`.
        out: str. Where the job writes.

    Raises:
        ValueError: for an option that Beam does not know, a value that it does not take, and a
            remote runner that would have no code to run or no folder to write.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    for kind in _all_options(PipelineOptions):
        kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(given))
    if unknown:
        name = unknown[0].partition("=")[0]
        if not name.startswith("-"):
            raise ValueError(f"unexpected argument {name!r}")
        known = [*_OF_PREPARE, *(option for a in parser._actions for option in a.option_strings)]
        hint = did_you_mean(name, known)
        raise ValueError(f"unknown option {name}{hint if 'did you' in hint else ''}")
    options = pipeline_options(given)
    if options.view_as(StandardOptions).no_wait_until_finish:
        raise ValueError("--no_wait_until_finish: prepare has to see the end of the job")
    if not runs_here(options):
        _check_remote(options, out)


def checked_shared(element: T, probe: str, folder: str) -> T:
    """An element of a worker that sees what was written for it where the job writes.

    Raises:
        ValueError: if it does not, as its disk is another.
    """
    if not exists(probe):
        raise ValueError(f"the workers do not see {folder}: give --out a folder that they share")
    return element


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"options of Beam: {message}")


def _all_options(kind: type[PipelineOptions]) -> Iterator[type[PipelineOptions]]:
    for below in kind.__subclasses__():
        yield below
        yield from _all_options(below)


def _check_answers(endpoint: str) -> None:
    """Checks that there is a job server, for which Beam would wait minutes."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ValueError(f"--job_endpoint {endpoint}: no job server answers ({error})") from None


def _check_remote(options: PipelineOptions, out: str) -> None:
    runner = options.view_as(StandardOptions).runner
    setup = options.view_as(SetupOptions)
    portable = options.view_as(PortableOptions)
    has_code = (
        options.view_as(WorkerOptions).sdk_container_image
        or portable.environment_type in _OUR_CONTAINERS
        or portable.environment_config
        or setup.extra_packages
        or setup.setup_file
        or setup.requirements_file
    )
    if not has_code:
        raise ValueError(
            f"the workers of {runner} would not have this code: give --sdk_container_image IMAGE "
            "(README, Dataflow) or --extra_package WHEEL"
        )
    if portable.job_endpoint:
        _check_answers(portable.job_endpoint)
    if runner.lower() == "dataflowrunner" and not is_remote(out):
        raise ValueError(f"the workers of {runner} cannot write to {out}: give --out gs://...")
