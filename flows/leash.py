"""Run a command for as long as standard input stays open; its end kills the command and all that it started.

The process that holds the other end need not do anything: the kernel closes it even after a SIGKILL of that
process. The leash has to lead a process group of its own.

Usage: ``python leash.py COMMAND [ARGUMENT ...]``; the exit code is that of the command.
"""

import os
import signal
import subprocess
import sys
import threading


def _kill_group_at_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Run the command given as arguments."""
    threading.Thread(target=_kill_group_at_end_of_input, daemon=True).start()
    exit_code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    if exit_code < 0:
        # Somebody killed the command alone; what it had started runs on.
        os.killpg(0, signal.SIGKILL)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
