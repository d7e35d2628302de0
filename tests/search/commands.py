"""The command line, as tests of searches call it."""

from typing import Any

from click.testing import CliRunner, Result

from ctr_keras.cli import main


def run(*arguments: Any) -> Result:
    """What a command says that ends well."""
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result
