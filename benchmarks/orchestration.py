"""What Prefect adds to DVC where nothing is to be done.

    python -m benchmarks.orchestration    writes benchmarks/results/orchestration.csv, needs 3 minutes

Needs a working copy whose report is up to date (`make run`). One row a round: wall time (s) of `dvc repro
report`, and of `python -m flows.pipeline report` on a server that runs already, start of Python included; and
what the flow takes more, by stage of the graph.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from flows.dvc import find_root, read_stages
from flows.processes import search_paths
from flows.server import free_port, server
from risolve.files.atomic import write_text

RESULTS = Path(__file__).parent / "results" / "orchestration.csv"
ROUNDS = 5


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Wall time of a command in which no stage runs."""
    started = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, **search_paths(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    spent = time.monotonic() - started
    if "Running stage" in done.stdout:
        sys.exit("nothing may be left to do: make run first")
    return spent


def main() -> None:
    n_stages = len(read_stages(find_root(Path.cwd()), "report"))
    dvc = [str(Path(sys.executable).with_name("dvc")), "repro", "report"]
    flow = [sys.executable, "-P", "-m", "flows.pipeline", "report"]
    rows = []
    with server(free_port()) as address:
        for number in range(ROUNDS):
            repro_s, flow_s = seconds(dvc, {}), seconds(flow, address.environment)
            rows.append(
                {
                    "round": number,
                    "stages": n_stages,
                    "repro_s": repro_s,
                    "flow_s": flow_s,
                    "overhead_s_per_stage": (flow_s - repro_s) / n_stages,
                }
            )
    table = pd.DataFrame(rows)
    write_text(RESULTS, table.to_csv(index=False, float_format="%.3g", lineterminator="\n"))
    print(table)
    median = statistics.median(table["overhead_s_per_stage"])
    print(f"median overhead {median:.2f} s a stage, {n_stages} stages")


if __name__ == "__main__":
    main()
