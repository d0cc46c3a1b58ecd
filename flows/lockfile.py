"""dvc.lock after a kill: dvc writes it in place, and killed at that moment leaves it empty or cut.

What it says of stages is lost then, not their results: those are in the cache, where `dvc repro` finds them
again as soon as there is a whole dvc.lock, be it an older one.

Usage: ``python -m flows.lockfile``
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows.dvc import GraphError, find_root

_LOCK = "dvc.lock"


def mend_lock(root: Path) -> str | None:
    """Put the dvc.lock of the last start, or that of HEAD, in the place of one that cannot be read.

    Returns:
        What was done, in a line; None where nothing was.
    """
    path, kept = root / _LOCK, root / "state" / _LOCK
    if not path.exists():
        return None
    if _is_whole(root, path):
        kept.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, kept)
        return None
    if kept.exists():
        _replace(kept, path)
        return f"{path} was cut by a kill: that of the last start is in its place"
    committed = subprocess.run(
        ("git", "show", f"HEAD:./{_LOCK}"),
        cwd=root,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if committed.returncode:
        path.unlink()
        return f"{path} was cut by a kill, and there is no other: stages come back from the cache"
    path.write_bytes(committed.stdout)
    return f"{path} was cut by a kill: that of HEAD is in its place"


def _is_whole(root: Path, path: Path) -> bool:
    try:
        with Repo(str(root)) as repo:
            Lockfile(repo, str(path)).load()
    except DvcException:
        return False
    return True


def _replace(source: Path, destination: Path) -> None:
    temporary = destination.with_name(f"{destination.name}.new")
    shutil.copyfile(source, temporary)
    os.replace(temporary, destination)


def main() -> int:
    """Mend dvc.lock of the repository around the current folder."""
    try:
        done = mend_lock(find_root(Path.cwd()))
    except GraphError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if done is not None:
        print(done, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
