"""Fine-tuning by the likelihood alone: it falls, what it tells nothing of stays, and no truth is read."""

import copy
from dataclasses import replace

import pytest
import torch

from risolve.networks.examples import UNKNOWN, Examples
from risolve.networks.fit import FitState, fit
from risolve.networks.memory_feed import MemoryFeed
from risolve.networks.tuning import (
    held_back_loss,
    shared_out,
    tuning_settings,
)
from tests.messages import shows
from tests.networks.classroom import (
    EVERY_PART,
    classroom,
    classroom_dictionary,
    loss_of,
    small_network,
)

SETTINGS = tuning_settings(epochs=3, lr=1e-2, seed=3, blend_beta=0.3, diagonal_loading=1e-3)


def unlabelled(examples: Examples) -> Examples:
    n_scenes = len(examples)
    return replace(
        examples,
        sources=torch.full((n_scenes, 1, 3), torch.nan, dtype=torch.float64),
        power=torch.zeros((n_scenes, 1), dtype=torch.float64),
        n_sources=torch.full((n_scenes,), UNKNOWN, dtype=torch.int32),
    )


def tuned(network, state: FitState | None = None, after_epoch=lambda state: None):
    """Loss of the scenes held back, and the last state."""
    shares = shared_out(unlabelled(classroom(n_scenes=96)), 0.25, SETTINGS.seed)
    before = held_back_loss(network, shares.held_back, classroom_dictionary(), SETTINGS)
    after = fit(
        network,
        network,
        MemoryFeed(shares.learned, 16, SETTINGS.seed),
        shares.held_back,
        classroom_dictionary(),
        SETTINGS,
        state,
        after_epoch,
        lambda epoch, batch, n_batches: None,
    )
    return before, after


def test_the_loss_of_scenes_held_back_falls() -> None:
    before, state = tuned(small_network())
    losses = [record["validation_loss"] for record in state["history"]]
    assert before > losses[0] > losses[-1]
    assert state["best"]["validation_loss"] == min(losses)


@pytest.mark.parametrize(
    ("head", "parts"),
    [("power_map", {"stem", "trunk", "norm", "map"}), ("factor", {"stem", "trunk", "norm", "factor"})],
)
def test_parts_that_the_likelihood_does_not_read_stay_bit_for_bit(head, parts) -> None:
    network = small_network(head=head)
    original = copy.deepcopy(network.state_dict())
    _, state = tuned(network)
    for weights in (state["network"], state["average"], state["best"]["network"]):
        moved = {name for name, value in weights.items() if not torch.equal(value, original[name])}
        assert {name.partition(".")[0] for name in moved} == parts


def test_a_resumed_tuning_repeats_the_uninterrupted_one() -> None:
    kept: list[FitState] = []
    _, whole = tuned(small_network(), after_epoch=kept.append)
    _, resumed = tuned(small_network(), state=kept[0])
    assert resumed["history"] == whole["history"]
    for name, value in whole["network"].items():
        assert torch.equal(resumed["network"][name], value)


def test_no_truth_is_read() -> None:
    """A part that reads one is refused; the likelihood is that of the same scenes with their truth."""
    scenes, network, dictionary = classroom(n_scenes=6), small_network(), classroom_dictionary()
    own = loss_of(network, unlabelled(scenes), dictionary, SETTINGS.loss)
    assert own.total.item() == loss_of(network, scenes, dictionary, SETTINGS.loss).total.item()
    assert bool(own.measured.all())
    with pytest.raises(ValueError, match=shows("count, covariance, detection, offset, subspace ... sources")):
        loss_of(network, unlabelled(scenes), dictionary, EVERY_PART)


def test_shares_are_disjoint_and_whole() -> None:
    examples = classroom(n_scenes=10)
    numbered = replace(examples, estimated_snr=torch.arange(10.0))
    learned, held_back = (
        share.estimated_snr.tolist() for share in shared_out(numbered, held_back=0.3, seed=1)
    )
    assert len(held_back) == 3
    assert sorted(learned + held_back) == list(range(10))
    assert held_back != shared_out(numbered, 0.3, seed=2).held_back.estimated_snr.tolist()


def test_a_feed_in_memory_brings_every_scene_once() -> None:
    feed = MemoryFeed(classroom(n_scenes=10), batch_size=4, seed=1)
    assert feed.n_batches == 3
    epochs = [[batch.scenes.tolist() for batch in feed.batches(epoch)] for epoch in (1, 1, 2)]
    assert epochs[0] == epochs[1] != epochs[2]
    for epoch in epochs:
        assert sorted(scene for batch in epoch for scene in batch) == list(range(10))
    for batch in feed.batches(1):
        snr = classroom(n_scenes=10).estimated_snr[batch.scenes]
        assert torch.equal(batch.examples.estimated_snr, snr)
