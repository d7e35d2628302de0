"""Rows a second of `prepare` beyond start-up, and peak memory, on synthetic logs of Criteo's shape.

Each size runs in a process of its own. The rate is that of the rows which the larger log has more:
start-up (imports, building and tracing graphs) is the same for both and does not count.

    python -m benchmarks.prepare --folder /tmp/benchmark
"""

import argparse
import json
import os
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="For logs and prepared data; kept.")
    parser.add_argument("--rows", nargs=2, type=int, default=[100_000, 1_000_000])
    arguments = parser.parse_args()
    results = [measure(arguments.folder, rows) for rows in arguments.rows]
    for result in results:
        print(json.dumps(result))
    small, large = results
    seconds = large["seconds"] - small["seconds"]
    rate = (large["rows"] - small["rows"]) / seconds
    startup = small["seconds"] - small["rows"] / rate
    print(json.dumps({"rows_per_second": round(rate), "startup_seconds": round(startup, 1)}))


def measure(folder: str, rows: int) -> dict[str, float]:
    """Seconds and peak memory of one run of the command, start to end."""
    log, out = (os.path.join(folder, f"{name}-{rows}") for name in ("log", "prepared"))
    command = [sys.executable, "-m", "ctr_keras.cli"]
    if not os.path.exists(os.path.join(log, "truth.json")):
        subprocess.run([*command, "synthesize", "--rows", str(rows), "--out", log], check=True)
    subprocess.run(["rm", "-rf", out], check=True)
    started = time.monotonic()
    process = subprocess.Popen(
        [*command, "prepare", "--dataset", "synthetic", "--source", log, "--out", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"prepare failed: {status}"
    return {
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    main()
