"""Shape annotations are executed: a call against one fails in every test run."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from risolve.covariance import sample_covariance
from tests.shape_checks import jaxtyped

checked = jaxtyped(typechecker=beartype)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="factor"):
        sample_covariance(torch.ones(7, 15, dtype=torch.complex64))


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="factor"):
        sample_covariance(torch.ones(2, 7, 15, dtype=torch.float32))


@checked
def turned(matrix: Float[Tensor, "row column"], other: Float[Tensor, "column row"]) -> Float[Tensor, "row"]:
    return matrix @ other[:, 0]


def test_an_axis_has_one_size_in_arguments_and_result() -> None:
    matrix = torch.ones(3, 5)
    assert turned(matrix, matrix.mT).shape == (3,)
    with pytest.raises(TypeCheckError, match="other"):
        turned(matrix, matrix)
    with pytest.raises(TypeCheckError, match="return"):
        first_row(matrix)


@checked
def first_row(matrix: Float[Tensor, "row column"]) -> Float[Tensor, "row"]:
    return matrix[0]


@checked
@dataclass(frozen=True)
class Pair:
    first: Float[Tensor, "row"]
    second: Float[Tensor, "row"]

    @checked
    def longer(self, by: int) -> "Pair":
        return Pair(self.first.repeat(by), self.second.repeat(by))


def test_fields_of_a_dataclass_share_their_axes_and_a_call_within_has_its_own() -> None:
    assert Pair(torch.ones(3), torch.ones(3)).longer(2).first.shape == (6,)
    with pytest.raises(TypeCheckError, match="second"):
        Pair(torch.ones(3), torch.ones(4))


@checked
def rows(matrix: Float[Tensor, "row column"]) -> Iterator[Float[Tensor, "column"]]:
    yield from matrix


def test_a_generator_is_checked_for_its_arguments() -> None:
    assert len(list(rows(torch.ones(3, 5)))) == 3
    with pytest.raises(TypeCheckError, match="matrix"):
        rows(torch.ones(3))
