"""Shape annotations are executed: a call against one fails in every test run."""

import pytest
import torch
from jaxtyping import TypeCheckError

from stages.covariance import sample_covariance


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="factor"):
        sample_covariance(torch.ones(7, 15, dtype=torch.complex64))


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="factor"):
        sample_covariance(torch.ones(2, 7, 15, dtype=torch.float32))
