"""The tests of TensorFlow Serving's behaviour, against a server that runs anywhere.

They are those that have the number of a rule in their name, and ask nothing but a shared server of
toy models. To ask the real TensorFlow Serving, where there is a container of it:

    python -m tests.serving.conformance --write toys
    docker run -p 8500:8500 -p 8501:8501 -v $PWD/toys:/models tensorflow/serving \
        --model_config_file=/models/models.config
    python -m tests.serving.conformance --rest 127.0.0.1:8501 --grpc 127.0.0.1:8500
"""

import inspect
import os
import pathlib
import re
import sys
from typing import NamedTuple

import click
import pytest

FILES = ["test_rest_api.py", "test_rest_predict.py", "test_grpc_api.py", "test_classify_regress.py"]
_REST, _GRPC = "CTR_KERAS_CONFORMANCE_REST", "CTR_KERAS_CONFORMANCE_GRPC"


class Served(NamedTuple):
    """A server of the toy models that somebody else has started."""

    rest_address: str
    grpc_address: str


def served_elsewhere() -> Served | None:
    """The server to ask instead of one in the process, if there is one."""
    return Served(os.environ[_REST], os.environ[_GRPC]) if _REST in os.environ else None


class _OfAnyServer:
    """Chooses the tests that any server should pass."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [
            item
            for item in items
            if re.match(r"test_\d", item.name)
            and "server" in item.fixturenames
            and "monkeypatch" not in inspect.signature(item.function).parameters
        ]


def write_models(folder: pathlib.Path, base_path: str) -> None:
    """Writes the toy models, and a configuration that serves them from `base_path`."""
    from tests.serving import toy_models

    toy_models.save_all(folder)
    configs = "".join(
        f'  config {{ name: "{model.name}" base_path: "{base_path}/{model.name}" '
        'model_platform: "tensorflow" }\n'
        for model in sorted(folder.iterdir())
        if model.is_dir()
    )
    (folder / "models.config").write_text(f"model_config_list {{\n{configs}}}\n")


@click.command()
@click.option("--write", type=click.Path(path_type=pathlib.Path), help="Folder for the models.")
@click.option("--base-path", default="/models", show_default=True, help="Where it will be.")
@click.option("--rest", help="The server's REST API, HOST:PORT.")
@click.option("--grpc", help="The server's gRPC API, HOST:PORT.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def main(
    write: pathlib.Path | None,
    base_path: str,
    rest: str | None,
    grpc: str | None,
    more: tuple[str, ...],
) -> None:
    """Write the models that a server has to serve, or ask one that serves them.

    What follows -- goes to pytest, such as -k test_8.
    """
    if write:
        write_models(write, base_path)
        return
    if not (rest and grpc):
        raise click.UsageError("give --write FOLDER, or --rest and --grpc")
    os.environ |= {_REST: rest, _GRPC: grpc}
    files = [str(pathlib.Path(__file__).parent / "server" / name) for name in FILES]
    sys.exit(pytest.main([*files, *more], plugins=[_OfAnyServer()]))


if __name__ == "__main__":
    main()
