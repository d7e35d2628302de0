"""What TensorFlow Serving is asked where a container of it exists, our own server is asked here."""

import subprocess
import sys

from tests.conftest import ROOT
from tests.serving.conformance import write_models
from tests.serving.processes import running


def test_a_server_process_is_asked_from_another(tmp_path):
    folder = tmp_path / "models"
    write_models(folder, str(folder))
    with running(f"--model_config_file={folder}/models.config") as server:
        server.wait_for("Serving")
        addresses = [f"--rest={server.rest_address}", f"--grpc={server.grpc_address}"]
        command = [sys.executable, "-m", "tests.serving.conformance", *addresses]
        asked = subprocess.run(
            [*command, "--", "-q", "-k", "test_4 or test_8_predict", "-p", "no:cacheprovider"],
            **{"cwd": ROOT, "capture_output": True, "text": True},
        )
        assert asked.returncode == 0, asked.stdout
        assert " passed" in asked.stdout
        server.kill()
        gone = subprocess.run([*command, "--", "-q", "-x", "-k", "test_4"], cwd=ROOT)
    assert gone.returncode == 1
