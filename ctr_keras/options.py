"""What the commands of several packages take as options."""

import os
from typing import Any

import click

from ctr_keras.files import is_remote
from ctr_keras.mirrors import local_copy


class ExistingFolder(click.Path):
    """A folder that is there, on the disk or at an address; then a local copy of it."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = local_copy(value) if is_remote(str(value)) else value
        if not os.path.isdir(folder):
            option = f"{param.opts[0]} " if isinstance(param, click.Option) else ""
            what = "is no folder" if os.path.exists(folder) else "is not there"
            raise ValueError(f"{option}{folder} {what}")
        return super().convert(folder, param, ctx)


class ExistingRun(ExistingFolder):
    """The folder of a run or a search."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = super().convert(value, param, ctx)
        for name in ("config.yaml", "features.json"):
            if not os.path.exists(os.path.join(folder, name)):
                raise FileNotFoundError(f"{folder} holds no run: there is no {name}")
        return folder


class NewFolder(click.Path):
    """A folder to write, on the disk: commands that also write to addresses say so themselves."""

    def __init__(self) -> None:
        super().__init__(file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_remote(str(value)):
            raise ValueError(f"{value}: this command writes to the disk; copy the folder then")
        return super().convert(value, param, ctx)
