"""Reads params.yaml; writes data/check/params.txt, the same for any valid parameters.

DVC removes the results of a stage before it runs the stage. What is wrong in params.yaml itself is therefore
refused here, before any stage that has results to lose, and so are sizes that no machine has room for; and
because the text never changes, nothing that depends on it runs again.
"""

from pathlib import Path

from stages.artifacts.atomic import write_text
from stages.artifacts.entry import run
from stages.artifacts.estimator_setup import estimators
from stages.artifacts.params_file import read_params
from stages.artifacts.progress import say
from stages.artifacts.room import require_room, warning

CHECKED = Path("data/check/params.txt")


def main() -> None:
    """python -m stages.check"""
    params = read_params()
    estimators(params)
    require_room(params)
    write_text(CHECKED, "valid\n")
    if smaller := warning(params, CHECKED.parent):
        say("check", smaller)


if __name__ == "__main__":
    run(main)
