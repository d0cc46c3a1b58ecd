"""kill -9 of every part of a served run: nothing goes on computing, and one step resumes what was done."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.deployments import SERVED
from flows.serve import SECRET
from flows.server import HOST, free_port

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SECONDS = 120.0

# Two parts; the second waits for the file `go`, and says nothing meanwhile. What is done is not done again.
STAGE = """
import os, pathlib, time
done, starts = pathlib.Path("state/parts"), pathlib.Path("state/starts")
with starts.open("a") as file:
    file.write(f"{os.getpid()}\\n")
if not done.exists():
    done.write_text("first")
while not pathlib.Path("state/go").exists():
    time.sleep(0.05)
total = sum(float(open(f"{side}.txt").read()) for side in ("left", "right"))
open("joined.txt", "w").write(f"{done.read_text()} {total}")
open("scores.json", "w").write('{"total": 1}')
"""


class Served:
    """`python -m flows.serve` in a repository, started as often as it is needed."""

    def __init__(self, root: Path) -> None:
        self.root, self.port, self.starts = root, free_port(), 0
        self.log = root / "state" / "serve.log"
        self.log.parent.mkdir()

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        with self.log.open("ab") as log:
            self.process = psutil.Popen(
                [sys.executable, "-u", "-m", "flows.serve", "--port", str(self.port)],
                cwd=self.root,
                env={**environment, "PYTHONPATH": str(PROJECT)},
                stdout=log,
                stderr=log,
            )
        # A start that was killed leaves its secret: the next one's is there when it says its address.
        self.starts += 1
        self.wait(lambda: self.log.read_text().count("Prefect is at ") == self.starts)
        with self.connected() as client:
            self.wait(lambda: len(client.read_deployments()) == len(SERVED))

    @contextmanager
    def connected(self) -> Iterator[SyncPrefectClient]:
        """A client with the secret of the last start."""
        own = {PREFECT_API_URL: self.api, PREFECT_API_AUTH_STRING: self.secret()}
        with temporary_settings(own), get_client(sync_client=True) as client:
            yield client

    @property
    def api(self) -> str:
        return f"http://{HOST}:{self.port}/api"

    def secret(self) -> str:
        return (self.root / "state" / "prefect" / SECRET).read_text().strip()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)

    def wait(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def find(self, *words: str) -> psutil.Process:
        """The process below `serve` with these words in its command line, not its leash."""
        found = []
        for process in self.process.children(recursive=True):
            command = process.cmdline()
            if all(any(word in part for part in command) for word in words) and "-I" not in command:
                found.append(process)
        (one,) = found
        return one

    def prefect(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env={**os.environ, "PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": self.secret()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def served(repository: Path) -> Iterator[Served]:
    (repository / "join.py").write_text(STAGE)
    served = Served(repository)
    try:
        served.start()
        yield served
    finally:
        served.stop()


@pytest.fixture
def client(served: Served) -> Iterator[SyncPrefectClient]:
    with served.connected() as client:
        yield client


def begin(served: Served, client: SyncPrefectClient) -> tuple[FlowRun, psutil.Process]:
    """A run whose last stage has done its first part; the run, and the process of the stage."""
    deployment = client.read_deployment_by_name("pipeline/pipeline")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"target": "join"})
    return run, psutil.Process(started(served, 1))


def started(served: Served, times: int) -> int:
    """Process that the stage ran in when it was started for the n-th time."""
    starts = served.root / "state" / "starts"
    served.wait(lambda: starts.exists() and len(starts.read_text().splitlines()) >= times)
    return int(starts.read_text().splitlines()[times - 1])


def complete(served: Served, client: SyncPrefectClient, run: FlowRun, times: int) -> None:
    """Let the stage finish, which has started so many times; the run ends well and nothing was done twice."""
    started(served, times)
    (served.root / "state" / "go").touch()
    served.wait(lambda: (state := client.read_flow_run(run.id).state) and state.is_final())
    assert client.read_flow_run(run.id).state_name == "Completed", served.log.read_text()
    assert (served.root / "joined.txt").read_text() == "first 3.0"
    assert len((served.root / "state" / "starts").read_text().splitlines()) == times


def is_gone(process: psutil.Process) -> bool:
    """It has ended; nobody need have asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        process.kill()


@pytest.mark.parametrize("part", ["stage", "dvc"])
def test_a_run_goes_on_by_itself_with_what_its_stage_had_done(served, client, part):
    run, stage = begin(served, client)
    kill(stage if part == "stage" else served.find("dvc", "repro"))
    started(served, 2)
    assert is_gone(stage)
    complete(served, client, run, times=2)


def test_a_run_goes_on_while_a_server_that_was_killed_starts_again(served, client):
    run, stage = begin(served, client)
    server = served.find("flows.gated_server")
    # one that lives shorter is taken for one that cannot start
    served.wait(lambda: time.time() - server.create_time() > 30.0)
    kill(server)
    served.wait(lambda: client.api_healthcheck() is None)
    assert not is_gone(stage)
    complete(served, client, run, times=1)


def test_a_run_whose_flow_was_killed_is_tried_again(served, client):
    run, stage = begin(served, client)
    kill(served.find("prefect.engine"))
    served.wait(lambda: is_gone(stage))
    served.wait(lambda: client.read_flow_run(run.id).state_name == "Crashed")
    served.prefect("flow-run", "retry", str(run.id))
    complete(served, client, run, times=2)


@pytest.mark.parametrize("also", [(), ("flow",), ("flow", "dvc", "server", "stage")])
def test_after_a_kill_of_what_serves_the_run_is_tried_again(served, client, also):
    run, stage = begin(served, client)
    parts = {
        "flow": served.find("prefect.engine"),
        "dvc": served.find("dvc", "repro"),
        "server": served.find("flows.gated_server"),
        "stage": stage,
    }
    everything = served.process.children(recursive=True)
    kill(served.process, *(parts[name] for name in also))
    served.wait(lambda: is_gone(stage))
    served.process.wait()
    served.wait(lambda: all(map(is_gone, everything)))
    served.start()
    with served.connected() as again:
        served.wait(lambda: again.read_flow_run(run.id).state.is_final())
        served.prefect("flow-run", "retry", str(run.id))
        complete(served, again, run, times=2)
