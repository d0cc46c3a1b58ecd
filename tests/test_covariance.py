"""Laws of the normalized covariances and of their blend, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from risolve import covariance
from risolve.covariance import NormalizedCovariance, SharedBasis
from risolve.physics.observation import SourceModel
from tests import tolerances
from tests.covariances import KINDS, RIDGE, identity_basis, kinds, predicted, sample, true_waves
from tests.messages import shows
from tests.worlds import (
    DEFAULT,
    SMALL,
    WIDE,
    make_observation,
    scaled,
)

MODELS: tuple[SourceModel, ...] = ("independent", "constant")


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_is_hermitian_psd_with_trace_n(kind: str) -> None:
    matrix = kinds()[kind].dense()
    n_elements = kinds()[kind].n_elements
    assert torch.equal(matrix, matrix.mH)
    traces = matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)
    for found in (traces, kinds()[kind].trace()):
        torch.testing.assert_close(found, torch.full_like(found, n_elements), rtol=tolerances.TRACE, atol=0.0)
    smallest = torch.linalg.eigvalsh(matrix.to(torch.complex128))[:, 0]
    assert float(smallest.min()) > -tolerances.SINGLE * n_elements


@pytest.mark.parametrize("kind", KINDS)
def test_norm_lies_between_root_n_and_n(kind: str) -> None:
    """sqrt(N) <= ||R||_F <= N for any Hermitian PSD R of trace N."""
    norm, n_elements = kinds()[kind].frobenius_norm(), kinds()[kind].n_elements
    assert float(norm.min()) >= math.sqrt(n_elements) * (1.0 - tolerances.TRACE)
    assert float(norm.max()) <= n_elements * (1.0 + tolerances.TRACE)


def test_the_norm_laws_are_attained() -> None:
    """White: sqrt(N). Rank one: N. K orthogonal columns of equal power: N / sqrt(K), the least of rank K."""
    white = covariance.predicted_covariance(identity_basis(15, 15), torch.ones((1, 15)))
    assert float(white.frobenius_norm()) == pytest.approx(math.sqrt(15), rel=tolerances.TRACE)
    for rank in (1, 4):
        found = covariance.predicted_covariance(identity_basis(15, rank), torch.full((1, rank), 7.0))
        assert float(found.frobenius_norm()) == pytest.approx(15 / math.sqrt(rank), rel=tolerances.TRACE)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_rank_k_is_at_least_n_over_root_k(rank: int) -> None:
    norm = predicted(20, 144, rank, seed=rank).frobenius_norm()
    assert float(norm.min()) >= 144 / math.sqrt(rank) * (1.0 - tolerances.TRACE)


def test_rank_of_the_sample_covariance() -> None:
    """At most L - 1 for `independent` (centred), one for `constant`; the factor keeps L or one row."""
    independent, constant = make_observation(DEFAULT), make_observation(DEFAULT, 2, 10.0, 3, "constant")
    assert covariance.sample_factor(independent, RIDGE).shape == (3, 16, 144)
    assert covariance.sample_factor(constant, RIDGE).shape == (3, 1, 144)
    singular = torch.linalg.svdvals(covariance.sample_factor(independent, RIDGE))
    assert float((singular[:, 15] / singular[:, 0]).max()) < tolerances.SINGLE
    assert float((singular[:, 14] / singular[:, 0]).min()) > 1e-2


@pytest.mark.parametrize("source_model", MODELS)
def test_factor_holds_the_normalized_covariance(source_model: SourceModel) -> None:
    """X^T conj(X) has trace N as it is, so that reading a stored factor and normalizing again changes
    nothing.
    """
    factor = covariance.sample_factor(make_observation(WIDE, 2, 10.0, 3, source_model), RIDGE)
    dense = factor.mT @ factor.conj()
    again = covariance.sample_covariance(factor)
    torch.testing.assert_close(again.weights, torch.ones_like(again.weights), rtol=tolerances.TRACE, atol=0.0)
    torch.testing.assert_close(again.dense(), dense, rtol=0.0, atol=tolerances.SINGLE * 40)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_blend_obeys_the_laws_before_loading_and_loading_adds_eps_to_the_trace(beta: float) -> None:
    eps = 1e-3
    first, second = predicted(4, 144, 5), kinds()["sample, independent"]
    unloaded, loaded = covariance.blend(first, second, beta, 0.0), covariance.blend(first, second, beta, eps)
    norm = unloaded.squared_norms().blend.sqrt()
    assert torch.equal(norm, loaded.squared_norms().blend.sqrt())
    assert float(norm.min()) >= math.sqrt(144) * (1.0 - tolerances.TRACE)
    assert float(norm.max()) <= 144 * (1.0 + tolerances.TRACE)
    for blend, expected in ((unloaded, 144.0), (loaded, 144.0 * (1.0 + eps))):
        matrix = blend.dense()
        assert torch.equal(matrix, matrix.mH)
        for found in (blend.trace(), matrix.diagonal(dim1=-2, dim2=-1).real.sum(-1)):
            torch.testing.assert_close(found, torch.full((4,), expected), rtol=tolerances.TRACE, atol=0.0)
    smallest = torch.linalg.eigvalsh(loaded.dense().to(torch.complex128))[:, 0]
    assert float(smallest.min()) > eps - tolerances.SINGLE * 144


@pytest.mark.parametrize("source_model", MODELS)
@given(exponent=st.floats(-8.0, 8.0), phase=st.floats(0.0, 2.0 * math.pi))
def test_any_scale_and_global_phase_of_the_snapshots_change_nothing(
    source_model: SourceModel, exponent: float, phase: float
) -> None:
    observation = make_observation(WIDE, 2, 10.0, 2, source_model)
    factor = complex(10.0**exponent * math.cos(phase), 10.0**exponent * math.sin(phase))
    before, after = sample(observation), sample(scaled(observation, factor))
    change = (after.dense() - before.dense()).norm(dim=(1, 2)) / before.frobenius_norm()
    tolerance = {"independent": tolerances.SCALE, "constant": tolerances.SINGLE_SOLVE}[source_model]
    assert float(change.max()) < tolerance


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("exponent", [-26, -13, 13, 26])
def test_a_scale_by_a_power_of_two_changes_no_bit(source_model: SourceModel, exponent: int) -> None:
    """2^-26 = 1.5e-8 to 2^26 = 6.7e7: exact in binary, so the stored factor is bit-equal."""
    observation = make_observation(WIDE, 2, 10.0, 2, source_model)
    before = covariance.sample_factor(observation, RIDGE)
    assert torch.equal(covariance.sample_factor(scaled(observation, 2.0**exponent), RIDGE), before)


@pytest.mark.parametrize("c", [1e-8, 1e8])
def test_a_positive_scale_leaves_the_factor_itself(c: float) -> None:
    """Not only X^T conj(X): without a phase the factor itself stays."""
    observation = make_observation(WIDE, 2, 10.0, 2)
    before = covariance.sample_factor(observation, RIDGE)
    after = covariance.sample_factor(scaled(observation, c), RIDGE)
    assert float((after - before).norm() / before.norm()) < tolerances.SCALE


def test_order_of_the_sources_does_not_matter() -> None:
    waves, powers = true_waves(DEFAULT, 2), torch.tensor([[1.0, 0.5, 2.0]]).expand(2, 3)
    order = [2, 0, 1]
    before = covariance.true_covariance(waves, powers)
    after = covariance.true_covariance(waves[:, order], powers[:, order])
    torch.testing.assert_close(after.dense(), before.dense(), rtol=0.0, atol=tolerances.SINGLE * 144)


def test_an_empty_slot_of_power_zero_adds_nothing() -> None:
    waves = true_waves(DEFAULT, 2)
    powers = torch.tensor([[1.0, 0.5, 0.0]]).expand(2, 3)
    before = covariance.true_covariance(waves[:, :2], powers[:, :2])
    torch.testing.assert_close(covariance.true_covariance(waves, powers).dense(), before.dense())


@given(exponent=st.floats(-30.0, 30.0))
def test_scale_of_the_powers_does_not_matter(exponent: float) -> None:
    random = torch.Generator().manual_seed(1)
    basis = SharedBasis(torch.randn((15, 4), dtype=torch.complex64, generator=random))
    powers = torch.rand((2, 4), generator=random) + 0.1
    before = covariance.predicted_covariance(basis, powers)
    after = covariance.predicted_covariance(basis, powers * 10.0**exponent)
    torch.testing.assert_close(after.weights, before.weights, rtol=tolerances.SCALE, atol=0.0)


@pytest.mark.parametrize("power", [1e-42, 1e-38, 1e-36, 1e35, 1e37, 1e38])
def test_at_the_ends_of_float32_a_covariance_is_right_or_refused(power: float) -> None:
    """A trace that is representable does not overflow N / tr R on the way: no Inf or NaN leaves the
    normalization.
    """
    try:
        found = covariance.predicted_covariance(identity_basis(144, 144), torch.full((1, 144), power))
    except ValueError:
        return
    # A denormal of size 1e-42 has 3 digits.
    torch.testing.assert_close(found.trace(), torch.tensor([144.0]), rtol=1e-2, atol=0.0)
    torch.testing.assert_close(found.weights, torch.ones((1, 144)), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("subset", [slice(1, 3), torch.tensor([3, 0])])
@pytest.mark.parametrize("kind", ["sample, independent", "predicted"])
def test_a_scene_does_not_know_its_batch(kind: str, subset: slice | Tensor) -> None:
    whole = kinds()[kind]
    part = whole.select(subset)
    assert part.n_elements == whole.n_elements
    torch.testing.assert_close(part.dense(), whole.dense()[subset], rtol=0.0, atol=tolerances.SINGLE)
    torch.testing.assert_close(
        part.frobenius_norm(), whole.frobenius_norm()[subset], rtol=tolerances.SINGLE, atol=0.0
    )


def test_nobody_else_makes_a_normalized_covariance() -> None:
    basis, weights = identity_basis(15, 15), torch.ones((1, 15))
    with pytest.raises(TypeError, match=shows("sample_covariance")):
        NormalizedCovariance(basis, weights, construction=object())
    with pytest.raises(TypeError):
        NormalizedCovariance(basis, weights)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["basis", "weights"])
def test_a_normalized_covariance_is_frozen(name: str) -> None:
    held = predicted(1, 15, 3)
    with pytest.raises(AttributeError):
        setattr(held, name, getattr(predicted(1, 15, 3, seed=2), name))


def test_a_blend_takes_no_raw_tensors() -> None:
    """Under the shape checks of a test run the annotation refuses first, with a TypeError of its own."""
    good, raw = predicted(1, 15, 3), torch.eye(15, dtype=torch.complex64)[None]
    for first, second in ((good, raw), (raw, good), (raw, raw)):
        with pytest.raises(TypeError):
            covariance.blend(first, second, 0.3, 1e-3)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            covariance.LoadedBlend(first, second, 0.3, 1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("beta", "loading", "message"),
    [
        (-0.1, 1e-3, "beta ... [0, 1], got -0.1"),
        (1.1, 1e-3, "beta ... [0, 1], got 1.1"),
        (0.3, -1e-3, "eps ... got -0.001"),
    ],
)
def test_a_blend_states_its_ranges(beta: float, loading: float, message: str) -> None:
    part = predicted(1, 15, 3)
    with pytest.raises(ValueError, match=shows(message)):
        covariance.blend(part, part, beta, loading)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_blend_of_numbers_that_are_none_is_refused(number: float) -> None:
    part = predicted(1, 15, 3)
    with pytest.raises(ValueError, match="beta"):
        covariance.blend(part, part, number, 1e-3)
    with pytest.raises(ValueError, match="loading"):
        covariance.blend(part, part, 0.3, number)


def test_blended_parts_have_one_n() -> None:
    with pytest.raises(ValueError, match=shows("N; predicted ... 15, sample 40")):
        covariance.blend(predicted(1, 15, 3), predicted(1, 40, 3), 0.3, 1e-3)


def test_blended_parts_have_one_batch() -> None:
    """One scene and three would broadcast without a word."""
    with pytest.raises(ValueError, match=shows("scenes; predicted ... 1, sample 3")):
        covariance.blend(predicted(1, 15, 3), predicted(3, 15, 3), 0.3, 1e-3)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_trace_that_is_none_names_its_scenes(bad: float) -> None:
    powers = torch.ones((4, 3))
    powers[1], powers[3] = bad, bad
    with pytest.raises(ValueError, match=shows("trace; scenes [1, 3]")):
        covariance.predicted_covariance(identity_basis(15, 3), powers)


def test_a_negative_power_is_no_covariance() -> None:
    """diag(p) with p < 0 is not positive semidefinite, although its trace may be positive."""
    with pytest.raises(ValueError, match=r"-0\.5"):
        covariance.predicted_covariance(identity_basis(15, 3), torch.tensor([[1.0, 1.0, -0.5]]))


@pytest.mark.parametrize("source_model", MODELS)
@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_snapshots_that_are_zero_or_no_numbers_name_their_scenes(
    bad: float, source_model: SourceModel
) -> None:
    observation = make_observation(SMALL, 1, 10.0, 4, source_model)
    snapshots = observation.snapshots.clone()
    snapshots[2] = bad
    with pytest.raises(ValueError, match=shows("|y| ... scenes [2]")):
        covariance.sample_factor(replace(observation, snapshots=snapshots), RIDGE)


@pytest.mark.parametrize("source_model", MODELS)
def test_one_bad_entry_is_enough(source_model: SourceModel) -> None:
    observation = make_observation(SMALL, 1, 10.0, 4, source_model)
    snapshots = observation.snapshots.clone()
    snapshots[1, 3, 0] = complex(0.0, math.nan)
    with pytest.raises(ValueError, match=shows("|y| ... scenes [1]")):
        covariance.sample_factor(replace(observation, snapshots=snapshots), RIDGE)


def test_one_snapshot_has_no_centred_covariance() -> None:
    """Rank L - 1 = 0: said as such, not as silent snapshots."""
    observation = make_observation(SMALL, 1, 10.0, 2)
    single = replace(observation, snapshots=observation.snapshots[:, :1], codes=observation.codes[:, :1])
    with pytest.raises(ValueError, match="2 snapshots"):
        covariance.sample_factor(single, RIDGE)
