"""A run in a worktree: the checkout stays as it is, the result is an experiment, a kill leaves nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dvc import Checkout, read_stages
from flows.processes import Processes
from flows.worktree import (
    WorktreeError,
    read_parameters,
    require_committed,
    require_free_name,
    save,
    worktree,
    write_parameters,
)
from tests.messages import shows

pytestmark = pytest.mark.slow

DVC = str(Path(sys.executable).with_name("dvc"))


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(("git", *who, *arguments), cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def committed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a folder of a name that shells, make and DVC stumble over."""
    repository = repository.rename(repository.with_name("My répository"))
    monkeypatch.chdir(repository)
    (repository / ".gitignore").write_text("/state\n*.txt\n")
    git(repository, "config", "user.name", "test")
    git(repository, "config", "user.email", "test@localhost")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "first")
    return repository


def run(root: Path, name: str, amount: float) -> None:
    """What the flows do, without Prefect."""
    with Processes() as processes, worktree(root, name) as directory:
        write_parameters(directory, {"amount": amount})
        checkout = Checkout(directory, processes, state=root)
        for stage in read_stages(directory, "join"):
            checkout.reproduce(stage.name, lambda line: None)
        save(root, directory, name, ["join"])


def test_the_result_is_an_experiment_and_the_checkout_is_not_touched(committed: Path) -> None:
    before = sorted(path.name for path in committed.iterdir())
    run(committed, "larger", 4.0)
    assert sorted({path.name for path in committed.iterdir()} - {"state"}) == before
    assert git(committed, "status", "--porcelain") == ""
    assert (committed / "params.yaml").read_text() == "amount: 1.5\n"
    shown = subprocess.run(
        (DVC, "exp", "show", "--csv"), cwd=committed, capture_output=True, text=True, check=True
    )
    (row,) = [line.split(",") for line in shown.stdout.splitlines() if line.startswith("larger,")]
    assert "8.0" in row and "4.0" in row
    assert list((committed / "state/worktrees").iterdir()) == []
    assert git(committed, "worktree", "list").count("\n") == 1


@pytest.mark.slow
def test_stages_of_two_runs_share_their_cache(committed: Path) -> None:
    """What one run made is up to date in another with the same parameters."""
    run(committed, "one", 4.0)
    with Processes() as processes, worktree(committed, "two") as directory:
        assert write_parameters(directory, {"amount": 4.0}) == ["amount"]
        lines: list[str] = []
        Checkout(directory, processes, state=committed).reproduce("prepare", lines.append)
        assert any("is cached - skipping run" in line for line in lines)


def test_resumable_state_stays_with_the_checkout(committed: Path) -> None:
    (committed / "join.py").write_text(
        "import os; open(os.environ['DVC_ROOT'] + '/state/kept', 'w').write('1'); raise SystemExit(1)\n"
    )
    git(committed, "commit", "--quiet", "--all", "--message", "a stage that fails")
    with pytest.raises(RuntimeError, match="'join'"):
        run(committed, "fails", 2.0)
    assert (committed / "state/kept").read_text() == "1"
    assert list((committed / "state/worktrees").iterdir()) == []


def test_without_an_identity_nothing_begins(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that git guesses from the machine is none: DVC would compute everything, and refuse it then."""
    for name in ("user.name", "user.email"):
        git(committed, "config", "--unset", name)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(committed / "nobody"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with pytest.raises(WorktreeError, match=r"git config --global user\.name") as caught:
        run(committed, "larger", 4.0)
    assert "\n" not in str(caught.value) and not (committed / "state").exists()
    for kind in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{kind}_NAME", "test")
        monkeypatch.setenv(f"GIT_{kind}_EMAIL", "test@localhost")
    run(committed, "larger", 4.0)


def test_the_error_of_dvc_is_told_and_not_its_advice(committed: Path) -> None:
    with pytest.raises(WorktreeError, match=r"status \d+: ERROR: .*unrelated"):
        save(committed, committed, "larger", ["unrelated"])


def test_names_that_are_taken_or_no_names_are_refused(committed: Path) -> None:
    run(committed, "taken", 4.0)
    with pytest.raises(WorktreeError, match="'taken'"):
        require_free_name(committed, "taken")
    for name in ("", "a b", "../up", "-x"):
        with pytest.raises(WorktreeError, match=shows(f"name ... got {name!r}")):
            require_free_name(committed, name)
    require_free_name(committed, "free-2")


def test_files_that_differ_from_head_are_refused_but_for_the_parameters(committed: Path) -> None:
    (committed / "params.yaml").write_text("amount: 9.0\n")
    require_committed(committed)
    (committed / "join.py").write_text("pass\n")
    with pytest.raises(WorktreeError, match=shows("HEAD; join.py ")):
        require_committed(committed)


def test_results_that_differ_from_head_stand_in_the_way_of_nothing(committed: Path) -> None:
    """The committed results are those of another processor, whose content no cache here has."""
    subprocess.run((DVC, "repro", "join"), cwd=committed, capture_output=True, check=True)
    own = {name: (committed / name).read_text() for name in ("dvc.lock", "scores.json")}
    (committed / "dvc.lock").write_text(own["dvc.lock"].replace("md5: ", "md5: 0"))
    (committed / "scores.json").write_text('{"total": 3.0000001, "by": {"side": 2}}')
    git(committed, "add", "--all")
    git(committed, "commit", "--quiet", "--message", "results of another processor")
    for name, text in own.items():
        (committed / name).write_text(text)
    require_committed(committed)
    with worktree(committed, "after") as directory:
        assert {name: (directory / name).read_text() for name in own} == own
        assert (directory / "joined.txt").read_text() == (committed / "joined.txt").read_text()
    (committed / "scores.json").unlink()
    with worktree(committed, "after") as directory:
        assert not (directory / "scores.json").exists()
    assert git(committed, "status", "--porcelain") == " M dvc.lock\n D scores.json\n"


def test_code_with_any_name_that_differs_is_named(committed: Path) -> None:
    names = ("räum lich.py", "dvc.yaml")
    (committed / names[0]).write_text("pass\n")
    git(committed, "add", "--all")
    git(committed, "commit", "--quiet", "--message", "more code")
    for name in names:
        with (committed / name).open("a") as file:
            file.write("# a note\n")
        with pytest.raises(WorktreeError, match=shows(name)):
            require_committed(committed)
        git(committed, "checkout", "--quiet", name)
    git(committed, "mv", names[0], "scores.py")
    with pytest.raises(WorktreeError, match=r"scores\.py"):
        require_committed(committed)


def test_what_a_killed_run_left_is_removed_by_the_next(committed: Path) -> None:
    place = committed / "state/worktrees"
    place.mkdir(parents=True)
    git(committed, "worktree", "add", "--quiet", "--detach", str(place / "killed"), "HEAD")
    (place / "killed.lock").touch()
    run(committed, "next", 4.0)
    assert list(place.iterdir()) == []
    assert git(committed, "worktree", "list").count("\n") == 1


def test_what_a_run_starts_ends_before_its_worktree_is_removed(committed: Path) -> None:
    waits = f"import os, signal, time; os.kill({os.getpid()}, signal.SIGINT); time.sleep(60)"
    (committed / "waits.py").write_text(waits)
    with (committed / "dvc.yaml").open("a") as file:
        file.write("  waits:\n    cmd: python waits.py\n")
    git(committed, "add", "--all")
    git(committed, "commit", "--quiet", "--message", "waits")
    with pytest.raises(KeyboardInterrupt), worktree(committed, "stopped") as directory:
        save(committed, directory, "stopped", ["waits"])
    assert list((committed / "state/worktrees").iterdir()) == []
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if b"waits.py" in command]


def test_metrics_of_what_the_experiment_did_not_make_are_not_in_it(committed: Path) -> None:
    with (committed / "dvc.yaml").open("a") as file:
        file.write(
            "  after:\n    cmd: python -c \"print('{}', file=open('after.json', 'w'))\"\n"
            "    deps: [joined.txt]\n    metrics: [{after.json: {cache: false}}]\n"
        )
    subprocess.run([DVC, "repro", "--quiet", "after"], check=True)
    git(committed, "add", "--all")
    git(committed, "commit", "--quiet", "--message", "after")
    run(committed, "as-before", 1.5)
    run(committed, "another", 4.0)
    kept = {}
    for reference in git(committed, "for-each-ref", "--format=%(refname)", "refs/exps").split():
        names = git(committed, "ls-tree", "--name-only", reference).split()
        kept[reference.rpartition("/")[2]] = names
    assert "after.json" in kept["as-before"]
    assert "after.json" not in kept["another"]


def test_only_what_differs_is_written(committed: Path) -> None:
    (committed / "params.yaml").write_text("a: {b: 1, c: [1, 2]}   # a note\nd: 1e-3\n")
    tree = read_parameters(committed)
    assert write_parameters(committed, tree) == []
    assert write_parameters(committed, {"a": {"b": 2, "c": [1, 2]}, "d": 1e-3}) == ["a.b"]
    assert "# a note" in (committed / "params.yaml").read_text()
    assert read_parameters(committed) == {"a": {"b": 2, "c": [1, 2]}, "d": 1e-3}
