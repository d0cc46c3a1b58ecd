"""Reads params.yaml, the file that its `array.file` names, and the code; writes data/check/array.h5, the
array, and data/check/code/VERB.txt, the fingerprint of what a verb runs.

DVC removes the results of a stage before it runs the stage. What is wrong in params.yaml itself is therefore
refused here, before any stage that has results to lose, and so are sizes that no machine has room for. Every
stage depends on its fingerprint: it runs again when its code does something else, and not for other words.
Scenes depend on the array as it was read, wherever it stands.
"""

from pathlib import Path

from risolve.files.atomic import write_text
from risolve.files.given_system import write_system
from risolve.running.fingerprint import fingerprint
from risolve.running.progress import say
from stages.params.estimators import estimators
from stages.params.file import PARAMS, SYSTEM, checked, read_text
from stages.params.own_array import taken
from stages.params.room import require_room, warning
from stages.running.verb import run_verb

CODE = Path("data/check/code")
VERBS = (
    *("simulate", "normalize", "bound", "threshold", "train"),
    *("search", "calibrate", "evaluate", "sweep", "report"),
)
"""Those with a fingerprint: all others of dvc.yaml."""


def main() -> None:
    """python -m stages.check"""
    params, system, remarks = taken(checked(PARAMS, read_text(PARAMS)))
    estimators(params)
    require_room(params)
    write_system(SYSTEM, system)
    for verb in VERBS:
        write_text(CODE / f"{verb}.txt", fingerprint(f"stages.{verb}"))
    for remark in (*remarks, warning(params, CODE)):
        if remark is not None:
            say("check", remark)


if __name__ == "__main__":
    run_verb(main)
