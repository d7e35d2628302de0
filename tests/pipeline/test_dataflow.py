"""What workers of Dataflow run: the image of Dockerfile."""

import re

from tests.conftest import ROOT


def test_the_workers_image_has_the_versions_that_are_tested():
    text = (ROOT / "Dockerfile").read_text()
    beam = re.search(r"^apache-beam==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]
    assert f"FROM apache/beam_python3.11_sdk:{beam}\n" in text
    assert "-c constraints.txt" in text
