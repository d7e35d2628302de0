"""A job server and workers of their own, which share with the command nothing but one folder."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from ctr_keras.cli import main
from pipeline.runners import checked_shared
from tests.conftest import ROOT
from tests.pipeline.test_prepare import contents

# With the flushes that lose what is written meanwhile turned off there, too (see `runners.py`).
JOB_SERVER = """
import sys
from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner import worker_handlers
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
local_job_service_main.run(["--port", sys.argv[1]])
"""
IN_OWN_MOUNTS = ["unshare", "--mount", "--map-root-user"]


def test_an_element_passes_where_the_probe_is_seen(tmp_path):
    (tmp_path / "probe").touch()
    assert checked_shared(3, str(tmp_path / "probe"), "out") == 3
    with pytest.raises(ValueError, match=r"^the workers do not see out: give --out a folder"):
        checked_shared(3, str(tmp_path / "nothing"), "out")


@pytest.fixture(scope="module")
def own_disk(tmp_path_factory) -> pathlib.Path:
    """A folder that workers see empty."""
    if not shutil.which("unshare") or subprocess.run([*IN_OWN_MOUNTS, "true"]).returncode:
        pytest.skip("a disk of their own needs `unshare`, and the right to use it")
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def options(own_disk) -> Iterator[list[str]]:
    """Options of Beam for a job server and workers that are running."""
    server, workers = free_ports(2)
    pool = "apache_beam.runners.worker.worker_pool_main"
    started = f"mount -t tmpfs none {own_disk} && exec {sys.executable} -m {pool} --service_port"
    commands = [
        [sys.executable, "-c", JOB_SERVER, str(server)],
        [*IN_OWN_MOUNTS, "sh", "-c", f"{started} {workers}"],
    ]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"  # they say `python`
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as stack:
        for command in commands:
            process = stack.enter_context(subprocess.Popen(command, env=environment))
            stack.callback(process.kill)
        for port in (server, workers):
            wait_for(port)
        yield [
            *("--runner=PortableRunner", f"--job_endpoint=localhost:{server}"),
            *("--environment_type=EXTERNAL", f"--environment_config=localhost:{workers}"),
        ]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("localhost", 0))
        return [free.getsockname()[1] for free in sockets]


def wait_for(port: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("localhost", port)).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers at {port}"
            time.sleep(0.1)
        else:
            return


def prepare(source: pathlib.Path, out: pathlib.Path, options: list[str]):
    command = ["prepare", "--dataset", "synthetic", "--source", str(source), "--out", str(out)]
    return CliRunner().invoke(main, [*command, *options])


@pytest.mark.slow
def test_workers_that_do_not_see_the_folder_are_one_line(synthetic_log, own_disk, options):
    result = prepare(synthetic_log, own_disk / "out", options)
    assert result.exit_code == 1
    said = f"Error: the workers do not see {own_disk}/out.partial: give --out a folder that they "
    assert said in result.output


@pytest.mark.slow
def test_workers_on_a_disk_of_their_own_write_the_same_bytes(
    prepared_synthetic, synthetic_log, own_disk, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(own_disk))
    result = prepare(synthetic_log, tmp_path / "out", options)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path / "out") == contents(prepared_synthetic)
