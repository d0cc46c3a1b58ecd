"""dvc.lock after a kill: dvc writes it in place, and killed at that moment leaves it empty or cut.

What it says of stages is lost then, not their results: those are in the cache, where `dvc repro` finds them
again as soon as there is a whole dvc.lock, be it an older one.

Usage: ``python -m flows.lockfile``
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from dvc.config import ConfigError
from dvc.dvcfile import Lockfile
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.utils.serialize import ParseError
from dvc.utils.strictyaml import YAMLValidationError

from flows.arguments import GIT, command_line
from flows.dvc import GraphError, find_root
from risolve.shown import shown

_LOCK = "dvc.lock"
_MARKS = re.compile(rb"^(<{7}|={7}|>{7}|\|{7})(\s|$)", re.MULTILINE)


class LockFileError(RuntimeError):
    """dvc.lock cannot be read, and no kill is why."""


def mend_lock(root: Path) -> str | None:
    """Put the dvc.lock of the last start, or that of HEAD, in the place of one that a kill has cut.

    The cut one is kept as `state/dvc.lock.cut`. Nothing is done while another dvc is at work.

    Returns:
        What was done, in a line; None where nothing was.

    Raises:
        LockFileError: a merge left its marks in the file.
        GraphError: the configuration of DVC cannot be read.
    """
    path, kept = root / _LOCK, root / "state" / _LOCK
    try:
        with Repo(str(root)) as repo, repo.lock:
            if not path.exists():
                return None
            content = path.read_bytes()
            if _MARKS.search(content):
                raise LockFileError(f"{path}: a merge left its marks in it: resolve them, or take one side")
            kept.parent.mkdir(parents=True, exist_ok=True)
            # a cut inside a line may leave YAML; DVC ends its last line
            if content.endswith(b"\n") and _is_whole(repo, path):
                _replace(kept, content)
                return None
            path.replace(kept.with_name(f"{_LOCK}.cut"))
            if kept.exists():
                _replace(path, kept.read_bytes())
                return f"{path} was cut by a kill: that of the last start is in its place"
            committed = _committed(root)
            if committed is None:
                return f"{path} was cut by a kill, and there is no other: stages come back from the cache"
            _replace(path, committed)
            return f"{path} was cut by a kill: that of HEAD is in its place"
    except LockError:
        return None
    except ConfigError as error:
        raise GraphError(f"the configuration of DVC in {root} cannot be read: {error}") from error


def _is_whole(repo: Repo, path: Path) -> bool:
    try:
        Lockfile(repo, str(path)).load()
    except (ParseError, YAMLValidationError):
        return False
    return True


def _committed(root: Path) -> bytes | None:
    command = command_line(GIT, "show", f"HEAD:./{_LOCK}")
    done = subprocess.run(command, cwd=root, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    return None if done.returncode else done.stdout


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def main() -> int:
    """Mend dvc.lock of the repository around the current folder."""
    try:
        done = mend_lock(find_root(Path.cwd()))
    except (GraphError, LockFileError) as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return 1
    if done is not None:
        print(shown(done), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
