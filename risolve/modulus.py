"""The squared modulus of complex numbers."""

from jaxtyping import Complex, Float
from torch import Tensor


def squared_modulus(values: Complex[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """|z|^2 without the square root of `abs`; several times as fast as the sum over `view_as_real`."""
    return values.real.square() + values.imag.square()


def squared_norms(columns: Complex[Tensor, "*any row column"]) -> Float[Tensor, "*any column"]:
    """|x|^2 of every column."""
    return squared_modulus(columns).sum(-2)
