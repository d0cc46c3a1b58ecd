"""What the package brings is of the parameters that lie beside it, and the demonstration finds it."""

from pathlib import Path

import torch

import risolve
from benchmarks._shipped import example_scene
from risolve.demo import demonstrate
from risolve.files.measurements import read_scenes
from stages.params.file import read_params
from tests.architecture.source import ROOT


def test_the_scene_is_of_the_default_run() -> None:
    """To rounding: processors differ in the last digit."""
    made, shipped = example_scene(read_params(ROOT / "params.yaml")), read_scenes(risolve.example(), False)
    torch.testing.assert_close(shipped.sources[:, :3], made.sources[:, :3])
    torch.testing.assert_close(shipped.observation.snapshots, made.observation.snapshots)
    torch.testing.assert_close(shipped.observation.channel, made.observation.channel)


def test_the_network_is_of_the_default_run() -> None:
    assert risolve.load_model().params == read_params(ROOT / "params.yaml").of_model()


def test_every_source_is_found_beside_its_bound(tmp_path: Path) -> None:
    picture = tmp_path / "demo.html"
    lines = demonstrate(picture)
    rows = [line for line in lines if "±" in line]
    assert [sum(name in row for row in rows) for name in ("truth, bound", "ml", "learned")] == [3, 3, 3]
    assert str(picture) in " ".join(lines)
    assert "</html>" in picture.read_text("utf-8")
