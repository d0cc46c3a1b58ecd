"""Processes that share a training take the steps that one process takes on all of their scenes."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from risolve.errors import ParameterError
from risolve.networks.examples import Batch, Examples, joined_examples
from risolve.networks.fit import FitState, fit
from risolve.networks.objective import PARTS, SCENE_PARTS
from stages.running.processes import ALONE, Team, is_started, team_of
from tests.messages import shows
from tests.networks.classroom import (
    EVERY_PART,
    SETTINGS,
    MemoryFeed,
    classroom,
    classroom_dictionary,
    small_network,
)

CPU = torch.device("cpu")
EPOCHS = 2


@dataclass(frozen=True)
class Share:
    """Every world-th scene of the batches of another feed."""

    whole: MemoryFeed
    rank: int
    world: int

    @property
    def n_batches(self) -> int:
        return self.whole.n_batches

    def batches(self, epoch: int) -> Generator[Batch, None, None]:
        for scenes, examples in self.whole.batches(epoch):
            own = torch.arange(self.rank, len(scenes), self.world)
            yield Batch(scenes[own], examples.select(own))


def trained(feed: MemoryFeed | Share, team: Team, weights: dict[str, float]) -> FitState:
    network = small_network()
    return fit(
        network,
        team.averaging(network, CPU),
        feed,
        classroom(n_scenes=8, seed=2),
        classroom_dictionary(),
        replace(SETTINGS, epochs=EPOCHS, loss=replace(EVERY_PART, weights=weights)),
        None,
        lambda state: None,
        lambda epoch, batch, n_batches: None,
    )


def train_share(rank: int, world: int, folder: Path, scenes: Examples, weights: dict[str, float]) -> None:
    """Body of a process."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    state = trained(Share(MemoryFeed(scenes), rank, world), Team(rank, world, rank, world), weights)
    torch.save(state, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def in_two_processes(folder: Path, scenes: Examples, weights: dict[str, float]) -> list[FitState]:
    folder.mkdir()
    torch.multiprocessing.spawn(train_share, args=(2, folder, scenes, weights), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def largest_difference(first: FitState, second: FitState) -> float:
    """Of any weight, in units of what the training has moved the weights at most."""
    start = small_network().state_dict()
    moved = max(float((first["network"][name] - start[name]).abs().max()) for name in start)
    apart = max(float((first["network"][name] - second["network"][name]).abs().max()) for name in start)
    return apart / moved


ALL_PARTS = dict.fromkeys(PARTS, 1.0)


@pytest.mark.slow
def test_two_processes_of_batch_8_take_the_steps_of_one_of_batch_16(tmp_path: Path) -> None:
    """Where every part of the loss is a mean over as many scenes in each process as in the other: batches of
    one size, with as many scenes with sources (here all have some).
    """
    scenes = joined_examples([classroom(2, 24), classroom(3, 8, seed=4, source_model="constant")])
    together = in_two_processes(tmp_path / "shared", scenes, ALL_PARTS)
    assert largest_difference(*together) == 0.0
    alone = trained(MemoryFeed(scenes), ALONE, ALL_PARTS)
    assert alone["history"][-1]["step"] == together[0]["history"][-1]["step"] == 4
    assert largest_difference(alone, together[0]) < 1e-3
    seconds = [state["history"][-1]["validation_loss"] for state in (alone, together[0])]
    assert seconds[0] == pytest.approx(seconds[1], rel=1e-4)


@pytest.mark.slow
def test_scenes_without_sources_weigh_the_processes_and_not_the_scenes(tmp_path: Path) -> None:
    """Parts of all scenes are the same means; those of scenes with sources are means of means."""
    scenes = joined_examples([classroom(2, 20), classroom(0, 12, seed=4)])
    of_all = {name: float(name in SCENE_PARTS) for name in PARTS}
    alone, (together, _) = (
        trained(MemoryFeed(scenes), ALONE, of_all),
        in_two_processes(tmp_path / "all", scenes, of_all),
    )
    assert largest_difference(alone, together) < 1e-3
    alone, (together, _) = (
        trained(MemoryFeed(scenes), ALONE, ALL_PARTS),
        in_two_processes(tmp_path / "some", scenes, ALL_PARTS),
    )
    assert largest_difference(alone, together) > 1e-2


@pytest.mark.slow
def test_parts_without_weight_leave_heads_unused_in_every_process(tmp_path: Path) -> None:
    scenes = classroom(2, 32)
    weights = {**dict.fromkeys(PARTS, 0.0), "detection": 1.0}
    together = in_two_processes(tmp_path / "shared", scenes, weights)
    assert largest_difference(*together) == 0.0
    assert largest_difference(trained(MemoryFeed(scenes), ALONE, weights), together[0]) < 1e-3
    start = small_network().state_dict()
    for name in ("place.weight", "count.0.weight"):
        assert torch.equal(together[0]["network"][name], start[name])


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the second of three processes, two of them on this machine."""
    own = {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": "1",
        "WORLD_SIZE": "3",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "2",
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert not is_started()
    assert team_of(1) == team_of(2) == ALONE
    network = small_network()
    assert ALONE.averaging(network, CPU) is network
    assert ALONE.shared({"epoch": 2}) == {"epoch": 2}


@pytest.mark.usefixtures("torchrun")
def test_a_team_is_what_torchrun_says() -> None:
    assert is_started()
    assert team_of(3) == Team(1, 3, 0, 2)
    with pytest.raises(ParameterError, match=shows("train.processes: ... torchrun ... 3; got 2")):
        team_of(2)
