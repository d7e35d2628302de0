"""Requests that arrive together run together: TensorFlow Serving's batching of single requests."""

import collections
import concurrent.futures
import dataclasses
import os
import threading
import time

import numpy as np

from serving.codes import Code, StatusError, invalid_argument
from serving.config_protos import BatchingParameters
from serving.server.metrics import Metrics
from serving.types import Array, Arrays, Run

_THREAD_POOL = "batching_threads"


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
    """BatchingParameters with TensorFlow Serving's defaults filled in.

    Attributes:
        max_batch_size: int. Rows in a batch at most; also in a request, unless it may be split.
        timeout_seconds: float. How long a batch waits for more rows once a thread is free.
        max_enqueued_batches: int. Batches of one signature that may wait.
        threads: int. Batches that run at a time.
        allowed_sizes: tuple of int. Sizes to which batches are padded; empty: none.
        pads_inputs: bool. Whether inputs of different lengths are padded to the longest.
        max_execution_size: int or None. Rows of the parts into which requests are split. None:
            they are not split.
        name: str. Label of the metrics.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    allowed_sizes: tuple[int, ...] = ()
    pads_inputs: bool = False
    max_execution_size: int | None = None
    name: str = _THREAD_POOL

    @classmethod
    def of(cls, parameters: BatchingParameters) -> "BatchingOptions":
        """Takes what a BatchingParameters message sets."""
        names = {
            "max_batch_size": "max_batch_size",
            "max_enqueued_batches": "max_enqueued_batches",
            "num_batch_threads": "threads",
            "thread_pool_name": "name",
        }
        given = {
            field: getattr(parameters, name).value
            for name, field in names.items()
            if parameters.HasField(name)
        }
        options = cls(
            **given,
            timeout_seconds=parameters.batch_timeout_micros.value / 1e6,
            allowed_sizes=tuple(parameters.allowed_batch_sizes),
            pads_inputs=parameters.pad_variable_length_inputs,
        )
        if not parameters.enable_large_batch_splitting.value:
            return options
        size = parameters.max_execution_batch_size.value or options.max_batch_size
        return dataclasses.replace(options, max_execution_size=size)

    @property
    def batch_size(self) -> int:
        """Rows that run at once at most."""
        return self.max_execution_size or self.max_batch_size


class _Task:
    """The rows of one request, or of a part of it, until they have run."""

    def __init__(self, inputs: Arrays, size: int):
        self.inputs = inputs
        self.size = size
        self.since = time.monotonic()
        self.done: concurrent.futures.Future[Arrays] = concurrent.futures.Future()


class BatchScheduler:
    """The threads that run batches, shared by all signatures of all models.

    Example:

    >>> scheduler = BatchScheduler(2)
    >>> queue = BatchQueue(lambda x: {"y": 2 * x["x"]}, BatchingOptions(), scheduler)
    >>> queue.run({"x": np.float32([1.0])})
    {'y': array([2.], dtype=float32)}
    >>> scheduler.stop()
    """

    def __init__(self, threads: int):
        self.changed = threading.Condition()  # guards all queues
        self._queues: collections.deque[BatchQueue] = collections.deque()  # those with tasks
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float | None = None) -> None:
        """Ends the threads when no task is left; waits so long at most for each."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join(seconds)

    def add(self, queue: "BatchQueue") -> None:
        """Notes that a queue has tasks; called with `changed` held."""
        if queue not in self._queues:
            self._queues.append(queue)
        self.changed.notify()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            queue, tasks = batch
            queue.process(tasks)

    def _next(self) -> tuple["BatchQueue", list[_Task]] | None:
        with self.changed:
            while True:
                now = time.monotonic()
                for queue in self._queues:
                    if self._stopping or queue.is_ready(now):
                        tasks = queue.take()
                        self._queues.remove(queue)
                        if queue.tasks:  # behind the others: nobody is starved
                            self.add(queue)
                        return queue, tasks
                if self._stopping and not self._queues:
                    return None
                due = min((queue.due() for queue in self._queues), default=None)
                self.changed.wait(None if due is None else max(0.0, due - now))


class BatchQueue:
    """Runs one signature in batches, joined along the first dimension.

    Attributes:
        tasks: deque. What waits, oldest first; guarded by the scheduler.
    """

    def __init__(
        self,
        run: Run,
        options: BatchingOptions,
        scheduler: BatchScheduler,
        metrics: Metrics | None = None,
    ):
        self._run = run
        self._options = options
        self._scheduler = scheduler
        self._metrics = metrics or Metrics()
        self._waiting = 0  # rows
        self.tasks: collections.deque[_Task] = collections.deque()

    def run(self, inputs: Arrays) -> Arrays:
        """Runs a request together with others; its inputs and outputs are all of one length.

        Raises:
            StatusError: INVALID_ARGUMENT for inputs that cannot be joined, UNAVAILABLE if too much
                waits already, FAILED_PRECONDITION if shapes do not fit together, or what the model
                says.
        """
        tasks = self._split(inputs)
        self._enqueue(tasks)
        parts = [task.done.result() for task in tasks]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def is_ready(self, now: float) -> bool:
        return self._waiting >= self._options.batch_size or now >= self.due()

    def due(self) -> float:
        return self.tasks[0].since + self._options.timeout_seconds

    def take(self) -> list[_Task]:
        """Removes as many tasks as fit into a batch."""
        taken, size = [], 0
        while self.tasks and size + self.tasks[0].size <= self._options.batch_size:
            taken.append(self.tasks.popleft())
            size += taken[-1].size
        self._waiting -= size
        return taken

    def process(self, tasks: list[_Task]) -> None:
        """Runs tasks as one batch; if the model refuses it each alone, as one may be to blame."""
        self._count(tasks)
        try:
            results = self._run_joined(tasks)
        except Exception as error:
            if len(tasks) > 1 and not isinstance(error, _JoinError):
                for task in tasks:
                    self.process([task])
                return
            for task in tasks:
                task.done.set_exception(error)
        else:
            for task, result in zip(tasks, results, strict=True):
                task.done.set_result(result)

    def _split(self, inputs: Arrays) -> list[_Task]:
        sizes = {len(array) for array in inputs.values() if array.shape}
        if not sizes or not all(array.shape for array in inputs.values()):
            raise invalid_argument(
                "Batching session Run() input tensors must have at least one dimension"
            )
        if len(sizes) > 1:
            raise invalid_argument(
                "Batching session Run() input tensors must have equal 0th-dimension size"
            )
        (size,) = sizes
        part = self._options.max_execution_size
        if part is None:
            if size > self._options.max_batch_size:
                raise invalid_argument(
                    f"Task size {size} is larger than maximum input batch size "
                    f"{self._options.max_batch_size}"
                )
            part = size
        if size <= part:
            return [_Task(inputs, size)]
        starts = range(0, size, part)
        return [
            _Task(
                {name: array[start : start + part] for name, array in inputs.items()},
                min(part, size - start),
            )
            for start in starts
        ]

    def _enqueue(self, tasks: list[_Task]) -> None:
        size = sum(task.size for task in tasks)
        capacity = self._options.max_enqueued_batches * self._options.batch_size
        with self._scheduler.changed:
            if self.tasks and self._waiting + size > capacity:
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {self._waiting} rows wait, at most {capacity} may",
                )
            self.tasks.extend(tasks)
            self._waiting += size
            self._scheduler.add(self)

    def _run_joined(self, tasks: list[_Task]) -> list[Arrays]:
        size = sum(task.size for task in tasks)
        padded = self._padded(size)
        inputs = {
            name: self._joined([task.inputs[name] for task in tasks], padded - size)
            for name in tasks[0].inputs
        }
        outputs = self._run(inputs)
        for array in outputs.values():
            if np.ndim(array) == 0:
                raise _JoinError("Batched output tensor has 0 dimensions")
            if len(array) != padded:
                raise _JoinError(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    f"dimension sizes of the input tensors: {len(array)} instead of {padded}"
                )
        ends = np.cumsum([task.size for task in tasks])
        return [
            {name: array[end - task.size : end] for name, array in outputs.items()}
            for task, end in zip(tasks, ends.tolist(), strict=True)
        ]

    def _padded(self, size: int) -> int:
        return next((n for n in self._options.allowed_sizes if n >= size > 0), size)

    def _joined(self, arrays: list[Array], padding: int) -> Array:
        if padding:  # with copies of a real row, which no model can find fault with
            arrays = [*arrays, np.repeat(arrays[0][:1], padding, axis=0)]
        if len(arrays) == 1:
            return arrays[0]
        try:
            return np.concatenate(arrays)
        except ValueError:  # shapes differ: rare, so looking at all of them first would not pay
            return np.concatenate(self._of_one_length(arrays))

    def _of_one_length(self, arrays: list[Array]) -> list[Array]:
        if not self._options.pads_inputs or len({array.ndim for array in arrays}) > 1:
            raise _JoinError(
                "Tensors with name of one input have different shapes and padding is turned "
                "off. Set pad_variable_length_inputs to true, or ensure that all tensors "
                "with the same name have equal dimensions starting with the first dim."
            )
        longest = np.max([array.shape[1:] for array in arrays], axis=0)
        return [_lengthened(array, longest) for array in arrays]

    def _count(self, tasks: list[_Task]) -> None:
        now, name, metrics = time.monotonic(), self._options.name, self._metrics
        size = sum(task.size for task in tasks)
        padded = self._padded(size)
        for task in tasks:
            metrics.queuing_latency.add(name, value=1e6 * (now - task.since))
            metrics.input_batch_size.add(name, value=task.size)
        metrics.batches.add(name)
        metrics.processed_batch_size.add(name, value=padded)
        metrics.padding_size.add(name, value=padded - size)


def _lengthened(array: Array, shape: Array) -> Array:
    """Fills dimensions behind the first up to `shape`, with zeros or empty strings."""
    widths = [(0, 0), *((0, int(n - size)) for n, size in zip(shape, array.shape[1:], strict=True))]
    fill = b"" if array.dtype == object else 0
    return np.pad(array, widths, constant_values=fill)


class _JoinError(StatusError):
    """Inputs that cannot be joined, or outputs that cannot be taken apart."""

    def __init__(self, message: str):
        super().__init__(Code.FAILED_PRECONDITION, message)
