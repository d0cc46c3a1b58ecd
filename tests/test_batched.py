"""Records of scenes: rows are chosen, replaced, joined and moved in every field, and only there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from risolve.batched import Batched


@dataclass(frozen=True)
class Inner(Batched):
    counts: Tensor
    told: Tensor | None


@dataclass(frozen=True)
class Outer(Batched):
    """`shared` has one row for all scenes or one a scene; `name` is of all scenes."""

    name: str
    shared: Tensor
    inner: Inner
    waves: Tensor
    flags: Tensor

    SHARED: ClassVar = ("shared",)


def record(n_scenes: int, *, first: int = 0, shared: bool = False, told: bool = True) -> Outer:
    """Rows that say which scene they are of, counted from `first`."""
    own = torch.arange(first, first + n_scenes, dtype=torch.float64)
    return Outer(
        name=f"from {first}",
        shared=torch.full((1, 2), 7.0) if shared else own[:, None].expand(-1, 2),
        inner=Inner(own.long(), own if told else None),
        waves=torch.complex(own, -own)[:, None, None].expand(-1, 3, 2),
        flags=own.long() % 2 == 0,
    )


def same(one: Outer, other: Outer) -> bool:
    pairs = [
        (one.shared, other.shared),
        (one.inner.counts, other.inner.counts),
        (one.waves, other.waves),
        (one.flags, other.flags),
    ]
    if one.inner.told is not None and other.inner.told is not None:
        pairs.append((one.inner.told, other.inner.told))
    return one.name == other.name and all(torch.equal(*pair) for pair in pairs)


layouts = given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), shared=st.booleans(), told=st.booleans()
)


def parts_of(sizes: Sequence[int], shared: bool, told: bool) -> list[Outer]:
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        replace(record(n, first=first, shared=shared, told=told), name="all")
        for n, first in zip(sizes, firsts, strict=True)
    ]


@layouts
def test_joining_is_the_inverse_of_choosing(sizes: list[int], shared: bool, told: bool) -> None:
    parts = parts_of(sizes, shared, told)
    whole = Outer.joined(parts)
    assert whole.n_scenes == sum(sizes)
    assert same(whole, replace(record(sum(sizes), shared=shared, told=told), name="all"))
    first = 0
    for part in parts:
        assert same(whole.select(slice(first, first + part.n_scenes)), part)
        first += part.n_scenes


@layouts
def test_choosing_twice_is_choosing_once(sizes: list[int], shared: bool, told: bool) -> None:
    whole = record(sum(sizes), shared=shared, told=told)
    order = torch.randperm(whole.n_scenes, generator=torch.Generator().manual_seed(len(sizes)))
    half = order[: (whole.n_scenes + 1) // 2]
    assert same(whole.select(order).select(order.argsort()), whole)
    assert same(whole.select(order).select(slice(0, len(half))), whole.select(half))


@pytest.mark.parametrize("shared", [False, True])
def test_replaced_rows_are_those_of_the_other(shared: bool) -> None:
    whole, other = record(5, shared=shared), replace(record(5, first=50, shared=shared), name="from 0")
    some, rest = torch.tensor([3, 0]), torch.tensor([1, 2, 4])
    found = whole.replaced(some, other.select(some))
    assert same(found.select(some), other.select(some))
    assert same(found.select(rest), whole.select(rest))
    assert same(whole, record(5, shared=shared))


def test_what_is_shared_and_differs_gets_a_row_a_scene() -> None:
    one, other = record(2, shared=True), replace(record(3, first=2), shared=torch.full((1, 2), 8.0))
    assert Outer.joined([one, other]).shared[:, 0].tolist() == [7.0, 7.0, 8.0, 8.0, 8.0]


def test_a_field_that_a_part_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="told"):
        Outer.joined([record(2), record(2, told=False)])


def test_precision_is_that_of_complex_and_real_numbers_and_of_no_others() -> None:
    single = record(2).to(torch.complex64)
    assert (single.waves.dtype, single.shared.dtype) == (torch.complex64, torch.float32)
    assert (single.inner.counts.dtype, single.flags.dtype) == (torch.int64, torch.bool)
    assert single.inner.told is not None and single.inner.told.dtype == torch.float32
    assert same(single.to(torch.complex128), record(2))


def test_a_device_moves_every_tensor() -> None:
    moved = record(2, shared=True).to(device="meta")
    assert moved.inner.told is not None
    tensors = (moved.shared, moved.inner.counts, moved.inner.told, moved.waves, moved.flags)
    assert {values.device.type for values in tensors} == {"meta"}


@dataclass(frozen=True, eq=False)
class Itself(Batched):
    values: Tensor


def test_a_record_without_equality_equals_itself_alone() -> None:
    one = Itself(torch.ones(2))
    assert one == one and one != replace(one)
