"""A GPU is held by one training of the machine at a time; the GPUs here need not exist."""

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from risolve.errors import ParameterError, StateError
from stages.running import device
from stages.running.device import computes_bfloat16, first_free, training_device
from stages.running.processes import ALONE, Team
from tests.messages import shows

HOLD = """
import sys, time
from pathlib import Path
from stages.running.device import first_free
with first_free(["gpu-a"], print, Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


THREE = Team(0, 3, 0, 3)


def silent(line: str) -> None:
    raise AssertionError(f"nothing waits here: {line}")


def test_trainings_take_different_devices(tmp_path: Path) -> None:
    with first_free(["gpu-a", "gpu-b"], silent, tmp_path) as first:
        with first_free(["gpu-a", "gpu-b"], silent, tmp_path) as second:
            assert (first, second) == (0, 1)
        with first_free(["gpu-b"], silent, tmp_path) as again:
            assert again == 0


def test_a_training_waits_for_the_device_says_for_whom_and_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    waiting, got = threading.Event(), threading.Event()

    def remark(line: str) -> None:
        said.append(line)
        waiting.set()

    def wait() -> None:
        with first_free(["gpu-a"], remark, tmp_path):
            got.set()

    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(60)
        assert not got.is_set()
        # whatever the way in which a process ends, the kernel frees what it held
        holder.send_signal(signal.SIGKILL)
    thread.join(60)
    assert got.is_set()
    assert said[0].startswith(f"waiting for a GPU, all 1 are held: process {holder.pid} of ")
    assert said[1:] == ["a GPU is free, going on"]


def test_the_lock_of_another_user_can_be_waited_for(tmp_path: Path) -> None:
    with first_free(["gpu-a"], silent, tmp_path):
        pass
    assert (tmp_path / "risolve-gpu-a.lock").stat().st_mode & 0o777 == 0o666


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "risolve-gpu-a.lock").mkdir()
    with (
        pytest.raises(StateError, match=shows("risolve-gpu-a.lock: ... (Is a directory)")),
        first_free(["gpu-a"], silent, tmp_path),
    ):
        pass


def test_a_device_is_known_by_its_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of GPUs differ between processes that see some of them only."""
    monkeypatch.setattr(device, "LOCKS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"identity-{number}")
    )
    with training_device("auto", ALONE, silent) as first, training_device("cuda", ALONE, silent) as second:
        assert (first, second) == (torch.device("cuda", 0), torch.device("cuda", 1))
    with training_device("cpu", THREE, silent) as chosen:
        assert chosen == torch.device("cpu")
    with (
        pytest.raises(ParameterError, match=shows("train.processes: ... 3 ... GPU ... 2")),
        training_device("auto", THREE, silent),
    ):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {
        "risolve-identity-0.lock",
        "risolve-identity-1.lock",
    }


def test_bfloat16_is_for_devices_that_have_it_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    for capabilities, native in (
        ({"architecture": "x86_64", "avx512_bf16": True}, True),
        ({"architecture": "x86_64", "avx512_bf16": False}, False),
        ({"architecture": "aarch64", "bf16": True}, False),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda own=capabilities: own)
        assert computes_bfloat16(cpu) == (native and torch.backends.mkldnn.is_available())
    for capability, native in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, own=capability: own)
        assert computes_bfloat16(gpu) == native


@dataclass(frozen=True)
class Threads(Team):
    """A team of threads of this process."""

    barrier: threading.Barrier

    def meet(self) -> None:
        self.barrier.wait(60)


def test_teams_that_need_all_gpus_take_them_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two teams takes both GPUs or none: neither waits for the half that the other has."""
    monkeypatch.setattr(device, "LOCKS", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"identity-{number}")
    )
    holders: list[tuple[int, int]] = []
    seen: list[set[int]] = []

    def train(number: int, team: Team) -> None:
        with training_device("auto", team, lambda line: None) as own:
            holders.append((number, own.index))
            team.meet()
            seen.append({holder for holder, _ in holders})
            team.meet()
            holders.remove((number, own.index))

    for _ in range(5):
        barriers = [threading.Barrier(2) for _ in range(2)]
        threads = [
            threading.Thread(target=train, args=(number, Threads(rank, 2, rank, 2, barriers[number])))
            for rank in range(2)
            for number in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert len(seen) == 20 and all(len(teams) == 1 for teams in seen)
