"""Reads params.yaml and the code; writes data/check/code/VERB.txt, the fingerprint of what a verb runs.

DVC removes the results of a stage before it runs the stage. What is wrong in params.yaml itself is therefore
refused here, before any stage that has results to lose, and so are sizes that no machine has room for. Every
stage depends on its fingerprint: it runs again when its code does something else, and not for other words.
"""

from pathlib import Path

from stages.artifacts.atomic import write_text
from stages.artifacts.entry import run
from stages.artifacts.estimator_setup import estimators
from stages.artifacts.fingerprint import fingerprint
from stages.artifacts.params_file import read_params
from stages.artifacts.progress import say
from stages.artifacts.room import require_room, warning

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
    run(main)
