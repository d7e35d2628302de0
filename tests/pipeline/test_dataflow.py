"""What workers of Dataflow run: the image of Dockerfile, and what a job stages for them."""

import base64
import bz2
import contextlib
import io
import os
import pathlib
import re
import zipfile

import google.auth
import google.auth.credentials
import pytest
from apache_beam.portability.api import beam_runner_api_pb2

from ctr_keras import files
from pipeline.prepare import prepare
from pipeline.storage import Output
from tests.cloud import bucket  # noqa: F401 (a fixture)
from tests.conftest import ROOT
from tests.test_cloud import DECLARATION, LOG

IMAGE = "us-docker.pkg.dev/my-project/ctr-keras/worker:1"
WHEEL = "ctr_keras-1.0-py3-none-any.whl"
WORK = "work-of-the-job"  # where TensorFlow's own client of Google's stores would write


def test_the_workers_image_has_the_versions_that_are_tested():
    text = (ROOT / "Dockerfile").read_text()
    beam = re.search(r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    assert f"FROM apache/beam_python3.11_sdk:{beam}\n" in text
    assert "-c constraints.txt" in text


@pytest.fixture(scope="module")
def staged(bucket, tmp_path_factory) -> dict[str, bytes]:  # noqa: F811
    """The template of a job and what it has staged, by name. Nobody signs in to Google."""
    folder = tmp_path_factory.mktemp("submitted")
    (folder / "my.yaml").write_text(DECLARATION)
    with files.open_output(f"{bucket}/log/a.csv") as log:
        log.write(LOG.encode())
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("ctr_keras/version.py", "")
    options = [
        *("--runner=DataflowRunner", "--project=my-project", "--region=us-central1"),
        *(f"--temp_location={bucket}/tmp", f"--template_location={bucket}/template"),
        *(f"--sdk_container_image={IMAGE}", f"--extra_package={WHEEL}"),
    ]
    credentials = google.auth.credentials.AnonymousCredentials()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(google.auth, "default", lambda *_, **__: (credentials, "my-project"))
        # TensorFlow asks Google itself, whatever server is named to take for Google's.
        patch.setattr(Output, "work_folder", lambda *_, **__: contextlib.nullcontext(WORK))
        patch.chdir(folder)
        report = prepare("my.yaml", f"{bucket}/log", f"{bucket}/out", beam_options=options)
    assert "rows" not in report
    assert not files.exists(f"{bucket}/out")
    found = [*files.find(f"{bucket}/template"), *files.files_below(f"{bucket}/tmp")]
    staged = {}
    for file in found:
        with files.open_input(file.path) as read:
            staged[os.path.basename(file.path)] = read.read()
    return staged


def test_a_template_stages_the_wheel_and_names_the_image_and_nothing_of_this_machine(
    staged, tmp_path_factory
):
    with zipfile.ZipFile(io.BytesIO(staged[WHEEL])) as wheel:
        assert wheel.namelist() == ["ctr_keras/version.py"]
    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
    (environment,) = pipeline.components.environments.values()
    assert IMAGE.encode() in environment.payload
    template = staged["template"].decode()
    assert f'"containerImage": "{IMAGE}"' in template
    assert WHEEL in template
    folders = [ROOT, pathlib.Path.home(), tmp_path_factory.getbasetemp()]
    for part in (staged["template"], staged["pipeline.pb"], *functions(pipeline)):
        assert not paths_below(folders, part)


def functions(pipeline: beam_runner_api_pb2.Pipeline) -> list[bytes]:
    """The functions of all steps as Beam has pickled them."""
    steps = (t.spec for t in pipeline.components.transforms.values())
    payloads = (
        beam_runner_api_pb2.ParDoPayload.FromString(step.payload).do_fn.payload
        for step in steps
        if step.urn == "beam:transform:pardo:v1"
    )
    return [bz2.decompress(base64.b64decode(payload)) for payload in payloads]


def paths_below(folders: list[pathlib.Path], data: bytes) -> list[bytes]:
    """The paths in some data, but those of sources, which only tracebacks tell."""
    places = b"|".join(re.escape(str(folder).encode()) for folder in folders)
    return [path for path in re.findall(rb"(?:%b)/[\w./-]*" % places, data) if path[-3:] != b".py"]
