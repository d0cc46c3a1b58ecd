"""Run a command for as long as standard input stays open, and nothing of it any longer.

The command leads a process group of its own. The group is killed when the command ends, however it ends, and
when standard input does: the process that holds the other end need not do anything, because the kernel closes
it even after a SIGKILL of that process. SIGTERM is passed on to the group.

Usage: ``python leash.py COMMAND [ARGUMENT ...]``; the exit code is the command's, 128 + n after signal n.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import FrameType

LEASH = (sys.executable, "-I", __file__)
"""Command line to put before that of a command."""


def _kill(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _kill_at_end_of_input(group: int) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    _kill(group, signal.SIGKILL)


def main() -> int:
    """Run the command given as arguments."""
    groups: list[int] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for group in groups:
            _kill(group, number)
        if not groups:
            early.append(number)

    signal.signal(signal.SIGTERM, pass_on)
    # what may be inherited is what this process was passed for the command, such as a socket that listens
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, process_group=0, close_fds=False)
    groups.append(command.pid)
    for number in early:
        _kill(command.pid, number)
    threading.Thread(target=_kill_at_end_of_input, args=(command.pid,), daemon=True).start()
    # Waited for without being reaped: until then its number is the group's and nobody else's.
    os.waitid(os.P_PID, command.pid, os.WEXITED | os.WNOWAIT)
    os.killpg(command.pid, signal.SIGKILL)
    exit_code = command.wait()
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(main())
