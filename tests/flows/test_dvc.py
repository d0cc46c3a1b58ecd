import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from flows.dvc import (
    Checkout,
    GraphError,
    StageFailed,
    StageKilledError,
    find_root,
    read_metrics,
    read_stages,
)
from flows.processes import Processes
from tests.messages import shows

PROJECT = Path(__file__).parents[2]

# Writes its process id and that of a child, then sleeps far beyond any test.
SLEEPER = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("started.tmp").write_text(f"{os.getpid()} {child.pid}")
os.replace("started.tmp", "started")
print("asleep")
time.sleep(600)
"""


def append_stage(root: Path, name: str, script: str) -> None:
    (root / f"{name}.py").write_text(script)
    # Two commands, so that every shell stays between dvc and the stage.
    stage = f"  {name}:\n    cmd: python {name}.py && true\n    deps: [{name}.py]\n    outs: [{name}.txt]\n"
    with (root / "dvc.yaml").open("a") as file:
        file.write(stage)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ancestors(pid: int) -> Iterator[int]:
    """A process, its parent, the parent of that, ..."""
    while pid:
        yield pid
        pid = parent(pid)


def wait_until(condition, seconds=60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def sleeping_processes(root: Path) -> list[int]:
    assert wait_until((root / "started").exists), "the stage did not start"
    return [int(pid) for pid in (root / "started").read_text().split()]


def test_graph_has_the_edges_of_dvc_yaml_and_only_what_the_target_needs(repository):
    stages = read_stages(repository, "join")
    assert {stage.name: stage.after for stage in stages} == {
        "prepare": (),
        "side@left": ("prepare",),
        "side@right": ("prepare",),
        "join": ("side@left", "side@right"),
    }
    assert stages[-1].outputs == (repository / "joined.txt", repository / "scores.json")
    assert stages[-1].metrics == (repository / "scores.json",)


def test_graph_comes_in_an_order_in_which_no_stage_precedes_what_it_needs(repository):
    seen: set[str] = set()
    for stage in read_stages(repository, "join"):
        assert seen.issuperset(stage.after)
        seen.add(stage.name)


def test_graph_of_a_group_is_that_of_its_members(repository):
    assert [stage.name for stage in read_stages(repository, "side")] == ["prepare", "side@left", "side@right"]


def test_graph_does_not_depend_on_the_current_folder(repository, monkeypatch):
    here = read_stages(repository, "join")
    monkeypatch.chdir("/")
    assert read_stages(repository, "join") == here


def test_root_is_found_from_a_folder_inside(repository, tmp_path):
    (repository / "deep" / "down").mkdir(parents=True)
    assert find_root(repository / "deep" / "down") == repository
    with pytest.raises(GraphError, match=shows(f"{tmp_path} ... DVC")):
        find_root(tmp_path)


def test_unknown_target_is_refused_with_the_names_there_are(repository):
    with pytest.raises(GraphError, match=shows("'jion' ... prepare, side@left, side@right, join, unrelated")):
        read_stages(repository, "jion")


def test_unreadable_graph_is_refused_with_the_reason(repository):
    (repository / "dvc.yaml").write_text("stages:\n  prepare:\n    cmd: echo ${nothing.like.it}\n")
    with pytest.raises(GraphError, match=r"nothing\.like\.it"):
        read_stages(repository, "prepare")


def test_a_stage_is_reproduced_once_and_then_up_to_date(repository):
    lines: list[str] = []
    checkout = Checkout(repository, Processes())
    assert checkout.reproduce("prepare", lambda line: None) == "reproduced"
    assert checkout.reproduce("side@left", lines.append) == "reproduced"
    assert "side left" in lines
    assert (repository / "left.txt").read_text() == "1.5"
    assert not (repository / "right.txt").exists()
    assert checkout.reproduce("side@left", lambda line: None) == "up to date"
    (repository / "params.yaml").write_text("amount: 2.5\n")
    assert checkout.reproduce("prepare", lambda line: None) == "reproduced"


def test_a_stage_that_says_it_is_up_to_date_is_not_believed(repository):
    append_stage(
        repository, "liar", "print('Data and pipelines are up to date.'); open('liar.txt', 'w').write('')\n"
    )
    assert Checkout(repository, Processes()).reproduce("liar", lambda line: None) == "reproduced"


def test_metrics_are_those_that_the_stages_declare(repository):
    checkout = Checkout(repository, Processes())
    stages = read_stages(repository, "join")
    with pytest.raises(GraphError, match=shows("scores.json ... metrics")):
        read_metrics(repository, stages)
    for stage in stages:
        checkout.reproduce(stage.name, lambda line: None)
    assert read_metrics(repository, stages) == {"scores.json": {"total": 3.0, "by.side": 2}}
    assert read_metrics(repository, stages[:-1]) == {}


def test_failure_names_the_stage_and_shows_its_last_lines(repository):
    append_stage(
        repository, "bad", "print('\\n'.join(f'line {n}' for n in range(99))); raise SystemExit(3)\n"
    )
    with pytest.raises(StageFailed) as caught:
        Checkout(repository, Processes()).reproduce("bad", lambda line: None)
    message = str(caught.value)
    assert caught.value.stage == "bad"
    assert caught.value.exit_code != 0
    assert "'bad'" in message
    assert "line 98" in message
    assert "line 50" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_an_exception_in_the_wait_kills_the_whole_group(repository):
    append_stage(repository, "sleeper", SLEEPER)

    def interrupt(line: str) -> None:
        if line == "asleep":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Checkout(repository, Processes()).reproduce("sleeper", interrupt)
    for pid in sleeping_processes(repository):
        assert wait_until(lambda pid=pid: not is_alive(pid), seconds=5), f"process {pid} outlived its stage"


def test_leaving_the_context_by_an_exception_kills_what_other_threads_wait_for(repository):
    append_stage(repository, "sleeper", SLEEPER)
    outcome: list[BaseException] = []

    def wait(checkout: Checkout) -> None:
        try:
            checkout.reproduce("sleeper", lambda line: None)
        except StageKilledError as error:
            outcome.append(error)

    with pytest.raises(KeyboardInterrupt), Processes() as processes:
        checkout = Checkout(repository, processes)
        thread = threading.Thread(target=wait, args=(checkout,))
        thread.start()
        pids = sleeping_processes(repository)
        assert os.getpgid(pids[0]) == os.getpgid(pids[1]) != os.getpgid(0)
        assert all(map(is_alive, pids))
        raise KeyboardInterrupt
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "'sleeper'" in str(outcome[0])
    for pid in pids:
        assert wait_until(lambda pid=pid: not is_alive(pid), seconds=5), f"process {pid} outlived its stage"
    with pytest.raises(StageKilledError):
        checkout.reproduce("prepare", lambda line: None)
    assert not (repository / "prepared.txt").exists()


@pytest.mark.parametrize("victim", ["flow", "dvc", "shell", "stage"])
def test_nothing_of_a_stage_survives_a_kill_of_one_of_them_alone(repository, victim):
    append_stage(repository, "sleeper", SLEEPER)
    reproduce = (
        "import pathlib, flows.dvc, flows.processes\n"
        "checkout = flows.dvc.Checkout(pathlib.Path.cwd(), flows.processes.Processes())\n"
        "checkout.reproduce('sleeper', lambda line: None)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", reproduce],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.DEVNULL,
    ) as flow:
        try:
            pids = sleeping_processes(repository)
            stage, shell, dvc, leash = islice(ancestors(pids[0]), 4)
            assert parent(leash) == flow.pid
            os.kill({"flow": flow.pid, "dvc": dvc, "shell": shell, "stage": stage}[victim], signal.SIGKILL)
            assert flow.wait(timeout=10) != 0
            for pid in pids:
                assert wait_until(lambda pid=pid: not is_alive(pid), seconds=5), f"process {pid} lives on"
        finally:
            flow.kill()
            for pid in filter(is_alive, map(int, (repository / "started").read_text().split())):
                os.kill(pid, signal.SIGKILL)


def test_siblings_run_side_by_side(repository):
    checkout = Checkout(repository, Processes())
    checkout.reproduce("prepare", lambda line: None)
    outcomes: dict[str, str] = {}

    def reproduce(stage: str) -> None:
        outcomes[stage] = checkout.reproduce(stage, lambda line: None)

    threads = [threading.Thread(target=reproduce, args=(stage,)) for stage in ("side@left", "side@right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert outcomes == {"side@left": "reproduced", "side@right": "reproduced"}
    assert checkout.reproduce("side@left", lambda line: None) == "up to date"
