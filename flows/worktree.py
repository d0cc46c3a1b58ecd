"""A working copy of its own for one run: a detached git worktree of HEAD, with the cache of DVC and the
results of the checkout.

Nothing of the user's checkout is touched, and runs do not meet. The stages keep their resumable state with
the checkout (`DVC_ROOT`), so that a run that is killed and started again goes on.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from flows.arguments import DVC, GIT, CommandLine, command_line, option
from flows.dvc import outdated_metrics, read_results, read_stages
from flows.leash import LEASH
from flows.processes import search_paths
from stages.params import text as params_text
from stages.params.edit import differences, edited

_OF_ANOTHER = re.compile("GIT_(?!AUTHOR_|COMMITTER_)")
"""Variables of git that would tie it to another repository."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PARAMS, LOCK = "params.yaml", "dvc.lock"


ExperimentName = Annotated[
    str,
    Field(
        description="Letters, digits, - and _; empty: that of the run. `dvc exp show` lists it, "
        "`dvc exp apply NAME` brings it into the working copy.",
        json_schema_extra={"title": "Name of the experiment"},
    ),
]


class WorktreeError(RuntimeError):
    """A worktree cannot be made, or its result cannot be kept."""


def require_committed(root: Path) -> None:
    """Refuse a checkout whose code differs from HEAD. Parameters may, for a run has its own; and results may,
    for another processor rounds otherwise, and a run takes those of the checkout.

    Raises:
        WorktreeError: naming the files.
        GraphError: dvc.yaml cannot be read.
    """
    names = differing(root)
    changed = sorted(names - _results_of(root, names) - {PARAMS})
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise WorktreeError(
            f"{root}: what runs is the committed HEAD; {', '.join(changed[:5])}{more} differ: commit or "
            "stash them first"
        )


def require_identity(root: Path) -> None:
    """Refuse a git without a name and an e-mail for the commit that an experiment is.

    Raises:
        WorktreeError: how to give them.
    """
    for kind in ("AUTHOR", "COMMITTER"):
        try:
            # DVC takes none that git would guess from the machine
            _run(root, command_line(GIT, "-c", "user.useConfigOnly=true", "var", f"GIT_{kind}_IDENT"))
        except WorktreeError as error:
            raise WorktreeError(
                f"{root}: an experiment is a commit, and git knows no name and e-mail for it: "
                "git config --global user.name 'Your Name'; git config --global user.email you@example.com"
            ) from error


def differing(root: Path) -> set[str]:
    """Tracked files that differ from HEAD."""
    # a letter for the index, one for the working copy, a blank, the path
    command = command_line(GIT, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no")
    entries = _run(root, command)
    return {entry[3:] for entry in entries.split("\0") if entry}


def _results_of(root: Path, names: set[str]) -> set[str]:
    """Those of some files that DVC writes: results, their record, what keeps them out of git."""
    if not names - {PARAMS}:
        return set()
    results = read_results(root)
    written = {root / LOCK, *(result.parent / ".gitignore" for result in results), *results}
    return {name for name in names if written & {root / name, *(root / name).parents}}


def _bring_results(root: Path, directory: Path) -> None:
    """Put the results of a checkout in the place of those of HEAD, which were computed elsewhere if they
    differ: their record names content that no cache here has.
    """
    for name in _results_of(root, differing(root)):
        if (root / name).exists():
            shutil.copyfile(root / name, directory / name)
        else:
            (directory / name).unlink()


def require_free_name(root: Path, name: str) -> None:
    """Refuse a name that an experiment has already, or that git takes for none.

    Raises:
        WorktreeError: the name.
    """
    if not _NAME.fullmatch(name):
        raise WorktreeError(
            f"a name is letters, digits, - and _, beginning with one of the first two; got {name!r}"
        )
    if name in experiment_names(root):
        raise WorktreeError(f"there is an experiment {name!r} already (dvc exp show): choose another name")


def experiment_names(root: Path) -> list[str]:
    """Names of the DVC experiments of all commits."""
    return _run(root, command_line(DVC, "exp", "list", "--all-commits", "--name-only")).split()


def head(root: Path) -> str:
    """The commit that runs in a worktree, short."""
    return _run(root, command_line(GIT, "rev-parse", "--short", "HEAD")).strip()


@contextmanager
def worktree(root: Path, name: str) -> Iterator[Path]:
    """A worktree of HEAD under `state/worktrees`, removed when the context ends, for an experiment of a name.

    It begins with the results of the checkout. What a killed run left there is removed first; the kernel
    says which is still in use.

    Raises:
        WorktreeError: no identity, files that are not committed, a name that is taken, or git or DVC refuses.
    """
    require_identity(root)
    require_committed(root)
    require_free_name(root, name)
    place = root / "state" / "worktrees"
    place.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root, place)
    directory = place / name
    with (place / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise WorktreeError(f"a run named {name!r} is at work in {directory}") from error
        try:
            _run(root, command_line(GIT, "worktree", "add", "--detach", names=[directory, "HEAD"]))
            _bring_results(root, directory)
            cache = _run(root, command_line(DVC, "cache", "dir")).strip()
            # DVC writes no path that is not ASCII: from here to there it seldom needs to
            shared = os.path.relpath((root / cache).resolve(), directory.resolve())
            _run(directory, command_line(DVC, "cache", "dir", "--local", names=[shared]))
            _run(directory, command_line(DVC, "checkout", "--allow-missing", "--quiet"))
            yield directory
        finally:
            _remove(root, directory)
            (place / f"{name}.lock").unlink(missing_ok=True)


def read_parameters(directory: Path) -> dict[str, Any]:
    """params.yaml of a working copy, as it is on disk.

    Raises:
        ParamsTextError: it cannot be read.
    """
    return params_text.read(directory / PARAMS).values


def write_parameters(directory: Path, values: Mapping[str, Any]) -> list[str]:
    """Put values into params.yaml of a worktree; the dotted keys of those that differ.

    Raises:
        ParamsTextError: it cannot be read.
    """
    path = directory / PARAMS
    held = params_text.read(path)
    changes = dict(differences(held.values, values))
    if changes:
        path.write_bytes(edited(held, changes).text.encode("utf-8"))
    return list(changes)


def save(root: Path, directory: Path, name: str, targets: Sequence[str]) -> None:
    """Keep stages that are up to date in a worktree, and all they depend on, as an experiment.

    `dvc exp save` would ask for the results of every other stage too. Metrics that are not of what the
    experiment made are not in it.

    Raises:
        GraphError: dvc.yaml cannot be read.
        WorktreeError: DVC refuses.
    """
    made = {stage.name for target in targets for stage in read_stages(directory, target)}
    for path in outdated_metrics(directory, made):
        path.unlink()
    command = command_line(DVC, "exp", "run", option("name", name), names=targets)
    _run(directory, command, environment={"DVC_ROOT": str(root)})


def _remove_abandoned(root: Path, place: Path) -> None:
    for path in place.glob("*.lock"):
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            _remove(root, path.with_suffix(""))
            path.unlink(missing_ok=True)


def _remove(root: Path, directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
    _run(root, command_line(GIT, "worktree", "prune"))


def _run(directory: Path, command: CommandLine, environment: Mapping[str, str] | None = None) -> str:
    """Standard output of a command.

    Raises:
        WorktreeError: it ends with another status than 0; the line that says why.
    """
    kept = {name: value for name, value in os.environ.items() if not _OF_ANOTHER.match(name)}
    leashed, held = os.pipe()
    with (
        os.fdopen(leashed) as end,
        os.fdopen(held, "w") as lead,
        subprocess.Popen(
            (*LEASH, *command),
            cwd=directory,
            env={**kept, **search_paths(), **(environment or {})},
            stdin=end,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            output, complaint = process.communicate()
        finally:
            lead.close()  # lets go of what still runs
            process.wait()
    if process.returncode:
        reason = _reason((complaint or output).splitlines())
        raise WorktreeError(f"{' '.join(command[:3])} in {directory}: status {process.returncode}: {reason}")
    return output


def _reason(lines: Sequence[str]) -> str:
    """The error that DVC or git names; both may write advice after it."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith(("ERROR:", "error:", "fatal:"))]
    return (errors or said or ["(no output)"])[-1]
