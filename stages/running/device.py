"""The device that a training runs on, and its precision: a GPU is held by one training of the machine at a
time.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import torch

from risolve.errors import ParameterError, StateError
from stages.running.processes import Team

LOCKS = Path("/tmp")  # the same for all users of a machine, whatever their TMPDIR
_SECONDS_BETWEEN_LOOKS = 0.5


@contextlib.contextmanager
def training_device(name: str, team: Team, remark: Callable[[str], None]) -> Iterator[torch.device]:
    """The device of `train.device`, held until the block ends; `auto` is a GPU where there is one.

    Of several GPUs the first that no training holds is taken. Where all are held this one waits, and says for
    whom.

    Args:
        team: the processes that share the training, each with a GPU of its own.
        remark: takes a line for whoever watches.

    Raises:
        ParameterError: a GPU is asked for and none is there, or fewer than processes.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ParameterError("params.yaml: train.device: cuda needs a GPU, torch finds none; use auto or cpu")
    if name == "cpu" or not available:
        yield torch.device("cpu")
        return
    if torch.cuda.device_count() < team.local_world:
        raise ParameterError(
            f"params.yaml: train.processes: each of {team.local_world} has a GPU of its own, torch finds "
            f"{torch.cuda.device_count()}; take fewer processes, or device cpu"
        )
    # By identity: the numbers depend on CUDA_VISIBLE_DEVICES of each process.
    gpus = [str(torch.cuda.get_device_properties(n).uuid) for n in range(torch.cuda.device_count())]
    with contextlib.ExitStack() as held:
        with _turn(team, LOCKS):
            index = held.enter_context(first_free(gpus, remark, LOCKS))
        yield torch.device("cuda", index)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are native to a device, forwards and backwards: a GPU from compute
    capability 8.0, or a CPU with AVX-512 BF16, by oneDNN. Others emulate them, slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # the keys of the mapping depend on the architecture
    native = ("avx512_bf16", True) in torch.cpu.get_capabilities().items()
    return native and torch.backends.mkldnn.is_available()


@contextlib.contextmanager
def _turn(team: Team, locks: Path) -> Iterator[None]:
    """The GPUs of a machine are taken by one team at a time: two that have a part of them each would wait
    for each other.
    """
    with contextlib.ExitStack() as stack:
        if team.world > 1 and team.local_rank == 0:
            file = stack.enter_context(_opened(locks / "risolve-team.lock"))
            fcntl.flock(file, fcntl.LOCK_EX)
        team.meet()
        yield
        team.meet()


@contextlib.contextmanager
def first_free(devices: Sequence[str], remark: Callable[[str], None], locks: Path) -> Iterator[int]:
    """Index of the first device that no process of this machine holds, held until the block ends.

    The kernel frees what a process holds that dies in any way.

    Raises:
        StateError: the files that stand for the devices cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_opened(locks / f"risolve-{name}.lock")) for name in devices]
        held = _lock_one(files)
        if held is None:
            holders = "; ".join(file.read().strip() or "another process" for file in files)
            remark(f"waiting for a GPU, all {len(devices)} are held: {holders}")
            while (held := _lock_one(files)) is None:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            remark("a GPU is free, going on")
        files[held].seek(0)
        files[held].truncate()
        files[held].write(f"process {os.getpid()} of user {os.getuid()} on {socket.gethostname()}\n")
        files[held].flush()
        yield held


def _opened(path: Path) -> TextIO:
    # Anyone may write to the folder: links are not followed.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            number = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(number, 0o666)  # another user's training waits for this one too, whatever the umask
        except FileExistsError:
            # Not to be created: in a folder like /tmp the kernel refuses that for a file of another user.
            number = os.open(path, flags)
    except OSError as error:
        raise StateError(f"{path}: cannot be opened ({error.strerror}); remove it, or allow it") from error
    return os.fdopen(number, "r+", encoding="utf-8")


def _lock_one(files: Sequence[TextIO]) -> int | None:
    for index, file in enumerate(files):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return index
    return None
