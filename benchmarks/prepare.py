"""Rows a second of `prepare` beyond start-up, and peak memory, on synthetic logs of Criteo's shape.

Each run is a process of its own, and the two sizes take turns. The rate is that of the rows which
the larger log has more: start-up (imports, building and tracing graphs) is the same for both and
does not count. Processor seconds are printed next to seconds, because others may use the machine.
Options that are not known here go to `prepare`.

    python -m benchmarks.prepare --folder /tmp/benchmark
    python -m benchmarks.prepare --folder /tmp/benchmark \
        --direct_running_mode in_memory --direct_num_workers 1

With `--distinct`, one run on a log of as many rows whose one column has another value in each:

    python -m benchmarks.prepare --folder /tmp/benchmark --distinct 10000000
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

_PAUSE = 0.1  # seconds between two looks at the memory
_COMMAND = [sys.executable, "-m", "ctr_keras.cli"]
_DISTINCT = """
source: {format: csv}
label: click
features: [{kind: categorical, name: user}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="For logs and prepared data; kept.")
    parser.add_argument("--rows", nargs=2, type=int, default=[100_000, 1_000_000])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--distinct", type=int, help="Distinct values; instead of all else.")
    arguments, options = parser.parse_known_args()
    if arguments.distinct:
        source = distinct_log(arguments.folder, arguments.distinct)
        print(json.dumps(measure(*source, arguments.distinct, options)))
        return
    runs: dict[int, list[dict[str, float]]] = {rows: [] for rows in arguments.rows}
    for _ in range(arguments.repetitions):
        for rows, results in runs.items():
            source = synthetic_log(arguments.folder, rows)
            results.append(measure(*source, rows, options))
            print(json.dumps(results[-1]), flush=True)
    small, large = (
        {key: statistics.median(result[key] for result in results) for key in results[0]}
        for results in runs.values()
    )
    summary: dict[str, float] = {"peak_gib_growth": round(large["peak_gib"] - small["peak_gib"], 2)}
    for unit in ("seconds", "cpu_seconds"):
        per_row = (large[unit] - small[unit]) / (large["rows"] - small["rows"])
        summary[f"rows_per_{unit.removesuffix('s')}"] = round(1 / per_row)
        summary[f"startup_{unit}"] = round(small[unit] - small["rows"] * per_row, 1)
    print(json.dumps(summary))


def synthetic_log(folder: str, rows: int) -> tuple[str, str]:
    """A data set and its log."""
    log = os.path.join(folder, f"log-{rows}")
    if not os.path.exists(os.path.join(log, "truth.json")):
        subprocess.run([*_COMMAND, "synthesize", "--rows", str(rows), "--out", log], check=True)
    return "synthetic", log


def distinct_log(folder: str, rows: int) -> tuple[str, str]:
    """A data set and its log, with another value in each row."""
    declaration, log = pathlib.Path(folder, "distinct.yaml"), pathlib.Path(folder, "distinct.csv")
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    declaration.write_text(_DISTINCT)
    with log.open("w") as file:
        file.write("user,click\n")
        file.writelines(f"{row:016x},{row % 2}\n" for row in range(rows))
    return str(declaration), str(log)


def measure(dataset: str, log: str, rows: int, options: list[str]) -> dict[str, float]:
    """Seconds and peak memory of one run of the command, start to end."""
    out = f"{log}.prepared"
    subprocess.run(["rm", "-rf", out], check=True)
    started = time.monotonic()
    process = subprocess.Popen(
        [*_COMMAND, "prepare", "--dataset", dataset, "--source", log, "--out", out, *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak, ended = 0, 0
    while not ended:
        peak = max(peak, _resident_bytes(process.pid))
        time.sleep(_PAUSE)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    assert status == 0, f"prepare failed: {status}"
    return {
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(peak / 2**30, 2),
    }


def _resident_bytes(process: int | str) -> int:
    """Memory of a process and of all that it started."""
    folder = pathlib.Path("/proc", str(process))
    try:
        pages = int((folder / "statm").read_text().split()[1])
        started = [path.read_text() for path in folder.glob("task/*/children")]
    except OSError:  # it has just ended
        return 0
    children = " ".join(started).split()
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(_resident_bytes, children))


if __name__ == "__main__":
    main()
