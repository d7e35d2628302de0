"""Work about requests that none of them waits for."""

import contextlib
import queue
import threading
from collections.abc import Callable

_MOST_WAITING = 256


class Background:
    """A thread of its own for tasks, of which so many may wait.

    Args:
        name: str. The thread's name.

    Example:

    >>> background, done = Background("example"), []
    >>> background.start()
    >>> background.offer(lambda: done.append(1)), background.stop(), done
    (True, True, [1])
    """

    def __init__(self, name: str):
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begins, unless it has begun."""
        if not self._thread.is_alive():
            self._thread.start()

    def offer(self, task: Callable[[], None]) -> bool:
        """Has a task, which must not fail, done later; False, at once, if too many wait."""
        try:
            self._waiting.put_nowait(task)
        except queue.Full:
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Whether no task waits."""
        return self._waiting.empty()

    def stop(self, seconds: float | None = None) -> bool:
        """Does what waits, for so long at most; whether that was enough."""
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=seconds)
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            task()
