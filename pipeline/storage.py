"""The folder of a prepared data set: there whole or not at all, on local disk and object stores."""

import contextlib
import os
import tempfile
import traceback
from collections.abc import Iterator

from ctr_keras import files

REPORT = "report.json"  # written last: a folder without it is no prepared data set
_PROBE_BYTES = 2**20


class Output:
    """A folder that is written as `partial` and renamed when it is whole, or to `failed`."""

    def __init__(self, path: str):
        self.path, self.partial, self.failed = (
            f"{path.rstrip('/')}{suffix}" for suffix in ("", ".partial", ".failed")
        )

    def begin(self) -> None:
        """Clears away what earlier runs have left, and tries whether there is room for this one.

        Raises:
            OSError: if nothing can be written, in one line.
        """
        probe = os.path.join(self.partial, "probe")
        try:
            for leftover in (self.partial, self.failed):
                files.delete(leftover)
            with files.open_output(probe) as file:
                file.write(bytes(_PROBE_BYTES))
            files.delete(probe)
        except OSError as error:
            raise OSError(f"cannot write to {self.partial}: {error.strerror or error}") from None

    @contextlib.contextmanager
    def work_folder(self, *, is_shared: bool) -> Iterator[str]:
        """A folder for what the workers leave for each other, deleted at the end: on the disk
        unless workers elsewhere share it."""
        if files.is_remote(self.partial) and not is_shared:
            with tempfile.TemporaryDirectory() as folder:
                yield folder
            return
        folder = os.path.join(self.partial, "work")
        yield folder
        files.delete(folder)

    def keep_traceback(self, error: BaseException, printed: str) -> str:
        """Writes an error's traceback, and what was printed, next to what it leaves; says where."""
        path = os.path.join(self.partial, "traceback.txt")
        text = "".join([*traceback.format_exception(error), printed])
        try:
            with files.open_output(path) as file:
                file.write(text.encode())
        except OSError:  # a full disk, say, is what has failed
            return ""
        return f" (traceback: {path})"

    def publish(self) -> None:
        """Gives the folder its name."""
        files.move(self.partial, self.path, last=REPORT)

    def fail(self) -> None:
        """Leaves the folder as `failed`."""
        files.move(self.partial, self.failed, last=REPORT)
