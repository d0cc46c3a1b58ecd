"""Every command on a disk that is full: one line, nothing published half, and with room the same result."""

from collections.abc import Callable
from pathlib import Path

import pytest

from risolve import cli
from risolve.running.entry import run
from stages import (
    bound,
    calibrate,
    check,
    clone,
    evaluate,
    normalize,
    report,
    search,
    simulate,
    sweep,
    threshold,
    train,
)
from stages.params.model import SPLITS
from tests.pipeline.working_copy import SMALL
from tests.running.test_full_disk import room_for
from tests.tiny_run import call_verb, write_params

pytestmark = pytest.mark.slow

SCENES = "data/scenes/test_independent/shard-0000.h5"
STAGES: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "check": (check.main, ()),
    **{f"simulate {split}": (simulate.main, ("--split", split)) for split in SPLITS},
    **{f"normalize {split}": (normalize.main, ("--split", split)) for split in SPLITS},
    **{f"bound {split}": (bound.main, ("--split", split)) for split in ("test_independent", "test_constant")},
    "threshold": (threshold.main, ()),
    "train": (train.main, ()),
    "calibrate": (calibrate.main, ()),
    "evaluate": (evaluate.main, ()),
    "sweep": (sweep.main, ()),
    "search": (search.main, ()),
    "report": (report.main, ()),
}
COMMANDS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    **STAGES,
    **{f"localize {e}": (cli.main, ("localize", SCENES, "--out", f"o.{e}")) for e in ("csv", "json", "h5")},
    "finetune": (
        cli.main,
        (
            *("finetune", "data/scenes/train", "--model", "data/calibration/learned.pt"),
            *("--epochs", "1", "--out", "tuned.pt"),
        ),
    ),
    "adopt": (clone.main, ("adopt",)),
}
QUICK = {
    **SMALL,
    "evaluate.estimators": ["music", "learned"],
    "evaluate.blind": [],
    "evaluate.refine": [False],
    "evaluate.genie_starts": 0,
    "sweep.n_scenes": 1,
    "sweep.points.position_jitter_m": [0.0, 0.02],
    **{f"sweep.points.{name}": [0.0] for name in ("phase_error_deg", "dead_fraction", "channel_error")},
    "threshold.snr_db": [-30.0, 0.0],
    "threshold.scenes": 2,
    "threshold.draws": 4,
}
WRITES_LITTLE = ("check", "threshold")
"""Less than the room that the others find too small."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("finished")
    write_params(folder, QUICK)
    for main, arguments in STAGES.values():
        call_verb(folder, main, *arguments)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Path -> content of everything but unfinished work."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    kept = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {name: content for name, content in kept.items() if not name.startswith(("state/", "."))}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_room_is_one_line_and_room_gives_the_same_result(
    finished: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("risolve.tune.LEAST_SCENES", 20)
    main, arguments = COMMANDS[name]

    def ended() -> tuple[int, list[str]]:
        """Exit status and lines of the errors."""
        status: object = 0
        try:
            call_verb(finished, lambda: run(main), *arguments)
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert isinstance(status, int)
        return status, [line for line in said.splitlines() if line.startswith("error: ")]

    earlier = contents(finished)
    for n_bytes in (0,) if name in WRITES_LITTLE else (0, 1000):
        with room_for(n_bytes):
            status, errors = ended()
        assert (status, len(errors)) == (2, 1), errors
        assert "(File too large)" in errors[0]
        assert contents(finished) == earlier
    assert ended() == (0, [])
    if name in STAGES:
        assert contents(finished) == earlier
