"""Reads params.yaml and the code; writes data/check/code/VERB.txt, the fingerprint of what a verb runs.

DVC removes the results of a stage before it runs the stage. What is wrong in params.yaml itself is therefore
refused here, before any stage that has results to lose, and so are sizes that no machine has room for. Every
stage depends on its fingerprint: it runs again when its code does something else, and not for other words.
"""

from pathlib import Path

from risolve.files.atomic import write_text
from risolve.running.fingerprint import fingerprint
from risolve.running.progress import say
from stages.params.estimators import estimators
from stages.params.file import read_params
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
    params = read_params()
    estimators(params)
    require_room(params)
    for verb in VERBS:
        write_text(CODE / f"{verb}.txt", fingerprint(f"stages.{verb}"))
    if smaller := warning(params, CODE):
        say("check", smaller)


if __name__ == "__main__":
    run_verb(main)
