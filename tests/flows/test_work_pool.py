"""The flows on a work pool: prefect.yaml, a worker in a repository of its own, and a kill of all at once."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_HOME, temporary_settings
from ruamel.yaml import YAML

import flows
from flows.deployments import FILLED, POOL, SERVED, texts_and_parameters
from flows.server import free_port, server
from flows.worktree import read_parameters

PROJECT = Path(__file__).parents[2]
AUTOMATIONS = PROJECT / "flows" / "automations.yaml"
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
FREQUENCY = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
SILENT = """
  silent:
    cmd: python -c "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    outs: [silent.txt]
"""


def deployments() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = YAML(typ="safe").load(PROJECT / "prefect.yaml")["deployments"]
    return found


def test_what_is_deployed_is_what_is_served() -> None:
    written = [
        (entry["entrypoint"], entry["name"], entry["description"], entry.get("parameters", {}))
        for entry in deployments()
    ]
    assert written == [
        (
            f"{own.fn.__module__}.{own.fn.__name__}",
            POOL,
            f"{{{{ {own.name}.description }}}}",
            {key: f"{{{{ {own.name}.parameters.{key} }}}}" for flow, key in FILLED.items() if flow is own},
        )
        for own in SERVED
    ]


def test_texts_are_first_paragraphs_and_parameters_those_on_disk() -> None:
    filled = texts_and_parameters(PROJECT)
    assert all(values["description"].endswith(".") for values in filled.values())
    assert not any("Returns:" in values["description"] for values in filled.values())
    assert filled["experiment"]["parameters"] == {"parameters": read_parameters(PROJECT)}


def test_a_run_of_the_pool_has_the_settings_of_any_other() -> None:
    ours = flows._default_settings(PROJECT)
    for entry in deployments():
        environment = dict(entry["work_pool"]["job_variables"]["env"])
        assert int(environment.pop(FREQUENCY)) >= 30  # Prefect's least
        assert environment.items() <= ours.items()
        assert "PREFECT_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS" in environment


def test_a_run_is_silent_when_two_heartbeats_are_missing() -> None:
    (written,) = YAML(typ="safe").load(AUTOMATIONS)["automations"]
    trigger = AutomationCore.model_validate(written).trigger
    assert isinstance(trigger, EventTrigger) and trigger.posture is Posture.Proactive
    for entry in deployments():
        heartbeat = int(entry["work_pool"]["job_variables"]["env"][FREQUENCY])
        assert trigger.within.total_seconds() >= 3 * heartbeat


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    """A server with the pool, the deployments and the automation, by the commands of docs/prefect.md."""
    home = tmp_path / "prefect"
    home.mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(home))
    with temporary_settings({PREFECT_HOME: home}), server(free_port()) as address:
        for name, value in address.environment.items():
            monkeypatch.setenv(name, value)
        prefect("work-pool", "create", "risolve", "--type", "process")
        prefect("deploy", "--all")
        prefect("automation", "create", "--from-file", str(AUTOMATIONS))
        with get_client(sync_client=True) as connected:
            yield connected


@pytest.fixture
def worker(repository: Path, client: SyncPrefectClient, tmp_path: Path) -> Iterator[psutil.Popen]:
    """A worker in the repository; what it started ends with it."""
    command = [*PREFECT, "worker", "start", "--pool", "risolve", "--type", "process", "--limit", "1"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with (tmp_path / "worker.log").open("wb") as log:
        process = psutil.Popen(command, cwd=repository, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        kill_with_children(process)


def prefect(*arguments: str) -> None:
    done = subprocess.run([*PREFECT, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def kill_with_children(process: psutil.Popen) -> None:
    """Worker and flow at once; each stage ends with the flow that started it."""
    if process.is_running():
        for one in (process, *process.children()):
            one.kill()
    process.wait()


def start(client: SyncPrefectClient, target: str) -> FlowRun:
    deployment = client.read_deployment_by_name(f"pipeline/{POOL}")
    return client.create_flow_run_from_deployment(deployment.id, parameters={"target": target})


def wait_for_end(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    deadline = time.monotonic() + 300
    while not (run.state and run.state.is_final()):
        assert time.monotonic() < deadline, f"the run is still {run.state_name}"
        time.sleep(0.5)
        run = client.read_flow_run(run.id)
    return run


@pytest.mark.slow
def test_a_run_of_the_pool_completes_where_the_worker_was_started(repository, client, worker, tmp_path):
    filled = texts_and_parameters(PROJECT)
    for own in SERVED:
        kept = client.read_deployment_by_name(f"{own.name}/{POOL}")
        assert str(PROJECT) not in kept.model_dump_json()
        assert {"description": kept.description, "parameters": kept.parameters} == filled[own.name]
    run = wait_for_end(client, start(client, "join"))
    assert run.state_name == "Completed", (tmp_path / "worker.log").read_text()
    assert (repository / "joined.txt").read_text() == "3.0"


@pytest.mark.slow
def test_a_run_whose_worker_and_flow_are_killed_at_once_ends_as_crashed(repository, client, worker, tmp_path):
    with (repository / "dvc.yaml").open("a") as file:
        file.write(SILENT)
    run = start(client, "silent")
    deadline = time.monotonic() + 120
    while not (repository / "pid").exists():
        assert time.monotonic() < deadline, (tmp_path / "worker.log").read_text()
        time.sleep(0.1)
    stage = int((repository / "pid").read_text())
    kill_with_children(worker)
    run = wait_for_end(client, run)
    assert run.state_name == "Crashed"
    assert "no heartbeat" in run.state.message
    assert not psutil.pid_exists(stage)
