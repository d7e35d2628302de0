"""A worker: a process that trains one model with one library, some steps whenever it is told to.

`Worker` starts one and talks to it; `serve` is what runs inside. They speak JSON, a line each way.
Needs only the standard library and NumPy.
"""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.peers.work import LAWS, Work

ROOT = pathlib.Path(__file__).parents[2]
ON_CPU = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
WARM_UP_STEPS = 3

Run = Callable[[Iterator[Any], int], Any]


class Worker:
    """A running worker, on the CPU.

    Args:
        module: str. The module that serves, such as `"benchmarks.peers.train_fuxictr"`.
        python: str. The interpreter of the environment that it runs in.
        work: Work.
        keras_backend: str. Defaults to `"tensorflow"`.

    Attributes:
        parameters: int. Of the model.

    Raises:
        RuntimeError: if the worker has ended, with the end of what it wrote; from `run`, too.

    Example:

    >>> worker = Worker("benchmarks.peers.train_ctr_keras", sys.executable, Work("FM", 3900))
    ... # doctest: +SKIP
    >>> worker.run("zipf", steps=10)["seconds"]  # doctest: +SKIP
    0.12
    >>> worker.stop()  # doctest: +SKIP
    """

    def __init__(
        self, module: str, python: str, work: Work, keras_backend: str = "tensorflow"
    ) -> None:
        self._module = module
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (until stop)
        reading, writing = os.pipe()  # libraries print to the standard output as they please
        self._answers = os.fdopen(reading)
        self._process = subprocess.Popen(
            [python, "-m", module, json.dumps(dataclasses.asdict(work)), str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[writing],
            cwd=ROOT,
            env={**os.environ, **ON_CPU, "KERAS_BACKEND": keras_backend},
            text=True,
        )
        os.close(writing)
        self.parameters = self._answer()["parameters"]

    def run(self, law: str, steps: int) -> dict[str, float]:
        """Trains on batches of a law.

        Args:
            law: str. A name in `LAWS`.
            steps: int.

        Returns:
            `seconds` and `cpu_seconds` of these steps, `peak_bytes` of the process since its start
            and `training_bytes`: the peak less what was there before the model.
        """
        print(json.dumps([law, steps]), file=self._process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._answers.close()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if line:
            return dict(json.loads(line))
        status = self._process.wait()
        self._log.seek(0)
        end = self._log.read()[-2000:]
        raise RuntimeError(f"{self._module} ended with status {status}. It wrote:\n{end}")


def serve(
    load: Callable[[Work, str], Iterator[Any]], build: Callable[[Work], tuple[Run, int]]
) -> None:
    """Does the work that the command line describes, until its input ends.

    Args:
        load: function of a `Work` and a law that returns endless batches in memory.
        build: function of a `Work` that returns a function that takes these batches, trains on the
            next so many of them and waits for the end, and the number of the model's parameters.
    """
    work = Work(**json.loads(sys.argv[1]))
    answers = os.fdopen(int(sys.argv[2]), "w")
    batches = {law: load(work, law) for law in LAWS}
    before = _resident_bytes()
    run, parameters = build(work)
    for law in LAWS:
        run(batches[law], WARM_UP_STEPS)
    print(json.dumps({"parameters": parameters}), file=answers, flush=True)
    for line in sys.stdin:
        law, steps = json.loads(line)
        started, cpu_started = time.perf_counter(), time.process_time()
        run(batches[law], steps)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answer = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu_started,
            "peak_bytes": peak,
            "training_bytes": peak - before,
        }
        print(json.dumps(answer), file=answers, flush=True)


def _resident_bytes() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
