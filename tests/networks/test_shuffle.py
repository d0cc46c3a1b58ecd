"""The order of scenes in an epoch: every scene once, mixed, the same again, shared between processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risolve.networks.shuffle import Shuffle
from tests.messages import shows

SIZES = (8, 8, 8, 3, 8, 8, 1, 8, 5)


def shuffle(**changes: object) -> Shuffle:
    values: dict[str, object] = {
        "sizes": SIZES,
        "batch_size": 7,
        "buffer_scenes": 32,
        "seed": 3,
        "rank": 0,
        "world": 1,
    }
    return Shuffle(**{**values, **changes})  # type: ignore[arg-type]


def batches(own: Shuffle, epoch: int = 1) -> list[list[tuple[int, int]]]:
    """(block, scene of the block) of every batch, through a buffer that refuses to be overwritten."""
    buffer: dict[int, tuple[int, int]] = {}
    found = []
    for step in own.steps(epoch):
        for fill in step.fills:
            assert len(fill.slots) == own.sizes[fill.block]
            for scene, slot in enumerate(fill.slots.tolist()):
                assert slot not in buffer and 0 <= slot < own.buffer_scenes
                buffer[slot] = (fill.block, scene)
        found.append([buffer.pop(slot) for slot in step.batch.tolist()])
    assert not buffer
    return found


def everything(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(block, scene) for block, size in enumerate(sizes) for scene in range(size)]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=4, max_size=30).map(tuple),
    batch_size=st.integers(1, 12),
    extra=st.integers(0, 40),
    world=st.integers(1, 4),
    epoch=st.integers(1, 5),
)
def test_processes_part_the_scenes_and_have_as_many_batches(
    sizes: tuple[int, ...], batch_size: int, extra: int, world: int, epoch: int
) -> None:
    """Every scene once in one of them; batches of a process differ by one scene at most, none is empty."""
    room = batch_size + max(sizes) + extra
    try:
        shares = [
            shuffle(sizes=sizes, batch_size=batch_size, buffer_scenes=room, rank=rank, world=world)
            for rank in range(world)
        ]
    except ValueError as error:
        assert "each of" in str(error) and world > 1
        return
    seen = [batches(share, epoch) for share in shares]
    n_batches = shares[0].n_batches
    for share in seen:
        lengths = [len(batch) for batch in share]
        assert len(lengths) == n_batches
        assert 1 <= min(lengths) and max(lengths) <= min(batch_size, min(lengths) + 1)
    assert sorted(one for share in seen for batch in share for one in batch) == everything(sizes)
    if world == 1:
        assert n_batches == -(-sum(sizes) // batch_size)


def test_equal_blocks_that_fill_the_batches_leave_no_remainder() -> None:
    for rank in range(2):
        own = shuffle(sizes=(8,) * 12, batch_size=8, rank=rank, world=2)
        assert [len(batch) for batch in batches(own)] == [8] * 6


def test_the_number_of_batches_is_that_of_the_most_scenes_that_a_process_can_get() -> None:
    """Nine blocks for two processes: five of the largest hold 40 scenes, 6 batches of at most 7."""
    assert shuffle(world=2).n_batches == 6
    assert {len(batches(shuffle(rank=rank, world=2), epoch)) for rank in (0, 1) for epoch in range(1, 9)} == {
        6
    }


def test_an_epoch_is_the_same_again_and_another_one_is_not() -> None:
    assert batches(shuffle()) == batches(shuffle())
    others = [batches(shuffle(), 2), batches(shuffle(seed=4)), batches(shuffle(rank=0, world=2))]
    assert all(other != batches(shuffle()) for other in others)


def test_processes_draw_in_orders_of_their_own() -> None:
    """Two processes with as many scenes each do not empty their buffers in step."""
    steps = [list(shuffle(sizes=(8,) * 12, rank=rank, world=2).steps(1)) for rank in (0, 1)]
    assert any(not np.array_equal(a.batch, b.batch) for a, b in zip(*steps, strict=True))


def test_the_buffer_mixes_the_blocks() -> None:
    """Scenes of one block spread over the epoch as far as the buffer lets them: a batch of 8 from a buffer of
    512 scenes, blocks of 8, holds two of one block in at most some cases.
    """
    own = shuffle(sizes=(8,) * 512, batch_size=8, buffer_scenes=512)
    distinct = [len({block for block, _ in batch}) for batch in batches(own)]
    # 28 pairs of a batch, each of one block with chance 7/511: 0.38 pairs a batch, and 4 standard errors.
    assert 8.0 - np.mean(distinct) < 0.38 + 4.0 * np.sqrt(0.38 / len(distinct))
    assert np.mean(distinct) < 8.0


def test_the_buffer_is_full_before_the_first_batch_and_never_overflows() -> None:
    own = shuffle(sizes=(8,) * 20, batch_size=8, buffer_scenes=64)
    fills = [sum(len(fill.slots) for fill in step.fills) for step in own.steps(1)]
    assert fills == [64] + [8] * 12 + [0] * 7


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"buffer_scenes": 14}, "7 + 8 scenes ... 14"),
        ({"sizes": (8, 8), "world": 3}, "3 processes ... 2 batches ... 0"),
        ({"sizes": (8, 8, 1), "batch_size": 1, "world": 2}, "2 processes ... 16 batches ... 1"),
    ],
)
def test_what_cannot_be_shared_is_refused(changes: dict[str, object], law: str) -> None:
    with pytest.raises(ValueError, match=shows(law)):
        shuffle(**changes)
