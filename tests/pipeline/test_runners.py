"""Where a job runs: options of Beam, and what a remote runner has to be given."""

import pytest

from pipeline import commands, runners
from pipeline.runners import check_options, pipeline_options, runs_here


@pytest.mark.parametrize(
    ("options", "is_here"),
    [
        ([], True),
        (["--runner=DirectRunner"], True),
        (["--runner", "FnApiRunner"], True),
        (["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"], True),
        (["--runner=PortableRunner"], False),
        (["--runner=DataflowRunner"], False),
    ],
)
def test_runners_on_this_machine_are_known(options, is_here):
    assert runs_here(pipeline_options(options)) == is_here


@pytest.mark.parametrize(
    "options",
    [
        ["--direct_num_workers=3", "--experiments=a", "--experiments", "b"],
        ["--runner=DataflowRunner", "--sdk_container_image=gcr.io/mine/ctr-keras"],
        ["--runner=DataflowRunner", "--extra_package", "ctr_keras.whl", "--project=p"],
        ["--runner=PortableRunner", "--environment_type=LOOPBACK"],
    ],
)
def test_options_of_beam_are_taken(options):
    check_options(options, "gs://bucket/out")


@pytest.mark.parametrize("runner", ["DataflowRunner", "PortableRunner", "FlinkRunner"])
def test_a_remote_runner_without_code_is_refused(runner):
    with pytest.raises(ValueError, match=f"^the workers of {runner} would not have this code"):
        check_options([f"--runner={runner}"], "gs://bucket/out")


@pytest.mark.parametrize("endpoint", ["localhost:1", "localhost", "localhost:http"])
def test_a_job_server_that_does_not_answer_is_said_at_once(endpoint):
    options = ["--runner=PortableRunner", "--environment_type=LOOPBACK"]
    with pytest.raises(ValueError, match=f"^--job_endpoint {endpoint}: no job server answers"):
        check_options([*options, f"--job_endpoint={endpoint}"], "out")


def test_dataflow_cannot_write_to_the_disk():
    options = ["--runner=DataflowRunner", "--sdk_container_image=i"]
    with pytest.raises(ValueError, match=r"^the workers of DataflowRunner cannot write to out:"):
        check_options(options, "out")


def test_did_you_mean_knows_the_options_of_the_command():
    options = [param.opts[0] for param in commands.prepare.params if param.name != "beam_options"]
    assert sorted(options) == sorted(runners._OF_PREPARE)
