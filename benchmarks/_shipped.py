"""What the package brings, `risolve/files/shipped`, from the run that lies in `data`.

python -m benchmarks._shipped
"""

import shutil
from pathlib import Path

from risolve.files.measurements import write_scenes
from risolve.files.shipped import NETWORK, example
from risolve.physics.scenario import Scenes
from stages.params.file import read_params
from stages.params.model import Params
from stages.simulate import simulate

_SCENE = 534
"""Three sources at 1.75, 3.21 and 7.45 m, at 10 dB."""


def example_scene(params: Params) -> Scenes:
    """The scene that is shipped."""
    return simulate(params, "test_independent", range(_SCENE, _SCENE + 1))


def main() -> None:
    """Write the scene, and copy the network."""
    write_scenes(example(), example_scene(read_params()))
    shutil.copyfile(Path("data/calibration/learned.pt"), NETWORK)


if __name__ == "__main__":
    main()
