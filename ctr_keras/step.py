"""`python -m ctr_keras.step ...` is `ctr-keras ...`, and ends with what has started it."""

import os
import signal
import threading
import time

from ctr_keras.cli import main

_GRACE = 10.0  # seconds to stop as at Ctrl-C, before this process and its own are killed


def end_with_starter() -> None:
    """Ends this process when the one that has started it does.

    Standard input has to be a pipe of which that process holds the other end: it closes however the
    process ends, killed too. This one has to lead a group of its own.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has it ignored
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(_GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    end_with_starter()
    main()
