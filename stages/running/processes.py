"""One training shared by several processes: torchrun starts them, DistributedDataParallel averages the
gradients.

Each process trains on scenes of its own, and all take the same steps. Where one ends in any way, torchrun
ends the others.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel

from risolve.errors import ParameterError, StateError

_PATIENCE = timedelta(days=7)
"""Longer than a process waits for its GPU; one that has ended is not waited for, torchrun ends the others."""

_SECONDS_TO_BE_ENDED = 10.0
"""After another process is gone: torchrun needs less than one."""

_LOST = ("gloo/transport", "NCCL")
"""In the error of a process that has lost another one."""


_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""What torchrun stops at; whoever stops a group of processes sends it more than once."""


@dataclass(frozen=True)
class Team:
    """The processes that share a training, and which of them this one is: of all, and of this machine's."""

    rank: int
    world: int
    local_rank: int
    local_world: int

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            torch.distributed.all_reduce(torch.zeros(1))

    def shared(self, value: Any) -> Any:
        """What the first process hands in, on all of them; the others wait for it."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def averaging(self, network: nn.Module, device: torch.device) -> nn.Module:
        """What runs the network and averages the gradients of all processes.

        A part of the loss without weight leaves the layers of its head without a gradient. The layout of the
        exchanged gradients stays the same from the first step on, so that a resumed training adds them up in
        the same order.
        """
        if self.world == 1:
            return network
        devices = None
        if device.type == "cuda":
            torch.cuda.set_device(device)
            devices = [device]
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=True)


ALONE = Team(0, 1, 0, 1)


def is_started() -> bool:
    """True in a process that torchrun started."""
    return torch.distributed.is_torchelastic_launched()


def start(module: str, processes: int) -> None:
    """Run `python -m module` in several processes of this machine under torchrun, until all have finished.

    The cores are shared out: each process has as many threads as it has cores, where OMP_NUM_THREADS does not
    say otherwise.

    Raises:
        StateError: a process was killed.
        SystemExit: a process ended with an error, which it has said.
    """
    # with -P the current folder holds no code, which may be that of a worktree
    os.environ["PYTHONPATH"] = os.pathsep.join(
        (str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")]))
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    # torch warns that every layer may have a gradient, and names the dead in many lines: here they are said
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-P", "-m", module)
        except SignalException as stopped:
            for number in _STOPPING:
                signal.signal(number, signal.SIG_IGN)
            raise KeyboardInterrupt from stopped
        except ChildFailedError as error:
            codes = {failure.local_rank: failure.exitcode for failure in error.failures.values()}
            # SIGTERM is how torchrun ends those that are left
            causes = {rank: code for rank, code in codes.items() if code != -signal.SIGTERM} or codes
            for rank, code in causes.items():
                if code < 0:
                    raise StateError(
                        f"process {rank} of {processes} was ended by {signal.Signals(-code).name} (killed, "
                        "or out of memory), and the others with it; run again to resume"
                    ) from error
            sys.exit(max(causes.values()))
        finally:
            logging.disable(logging.NOTSET)


def team_of(processes: int) -> Team:
    """The team that torchrun's environment says, this process alone without it.

    Raises:
        ParameterError: torchrun started another number of processes than the parameters say.
    """
    if not is_started():
        return ALONE
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world != processes:
        raise ParameterError(
            f"params.yaml: train.processes: as many as torchrun starts, {world}; got {processes}: a step "
            "sees processes x batch_size scenes, so their number is a parameter of the result"
        )
    return Team(rank, world, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))


@contextmanager
def connected(team: Team) -> Iterator[None]:
    """The processes of a team can reach each other until the block ends.

    Raises:
        StateError: another process is gone, and torchrun does not end this one.
    """
    if team.world == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    except RuntimeError as error:
        if not any(name in str(error) for name in _LOST):
            raise
        time.sleep(_SECONDS_TO_BE_ENDED)
        raise StateError("another process of the training is gone; run again to resume") from error
    torch.distributed.destroy_process_group()
