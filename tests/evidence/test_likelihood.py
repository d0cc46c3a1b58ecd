"""Maximum likelihood finds and counts sources, attains the bound, and knows how far off it is."""

import pandas as pd
import pytest

from stages.params.file import read_params
from tests.architecture.source import ROOT
from tests.evidence.committed import ANGLES_AND_RANGE, MODELS, bench, ratios


def test_refinement_from_the_truth_attains_the_bound() -> None:
    """K = 1, 2, 3 at 20 dB, both source models, 300 scenes or more."""
    table = bench("refinement")
    assert set(zip(table["source_model"], table["n_sources"], strict=True)) == {
        (model, k) for model in ("independent", "constant") for k in (1, 2, 3)
    }
    assert (table["snr_db"] == 20.0).all() and (table["n_scenes"] >= 300).all()
    ratios = table.filter(like="rmse_over_bound")
    assert ratios.shape[1] == 3
    assert ratios.ge(0.9).all(axis=None) and ratios.le(1.15).all(axis=None)


def accuracy(count: str, estimator: str, n_sources: int, *snrs_db: float) -> pd.DataFrame:
    """Rows of both source models, 200 scenes or more each."""
    table = bench("accuracy")
    own = table[(table["count"] == count) & (table["estimator"] == estimator)]
    own = own[(own["n_sources"] == n_sources) & own["snr_db"].isin(snrs_db)]
    assert len(own) == len(MODELS) * len(snrs_db) and (own["n_scenes"] >= 200).all()
    return own


def test_one_source_is_found_and_attains_the_bound() -> None:
    """From 5 dB on, and nearly so at 0 dB."""
    assert (accuracy("known", "ml", 1, 0.0, 5.0, 10.0, 20.0)["found_rate"] >= 0.98).all()
    assert ratios(accuracy("known", "ml", 1, 5.0, 10.0, 20.0)).le(1.15).all(axis=None)
    assert ratios(accuracy("known", "ml", 1, 0.0)).le(1.25).all(axis=None)


def test_one_source_is_found_and_attains_the_bound_at_every_range() -> None:
    """1000 sources a stratum: a ratio of 1 is measured with a standard deviation of 0.02."""
    table = bench("accuracy_ranges")
    assert set(table["source_model"]) == set(MODELS) and (table["n_sources_true"] >= 1000).all()
    assert len(table) == len(MODELS) * 4 * 4
    assert (table["found_rate"] >= 0.98).all()
    assert ratios(table[table["snr_db"] >= 5.0]).le(1.15).all(axis=None)
    assert ratios(table[table["snr_db"] == 0.0]).le(1.25).all(axis=None)


@pytest.mark.parametrize(("n_sources", "least"), [(2, 0.98), (3, 0.95)])
def test_several_sources_are_found_at_10_db_and_attain_the_bound(n_sources: int, least: float) -> None:
    """The bound by sources 10 degrees or more from the next."""
    own = accuracy("known", "ml", n_sources, 10.0)
    assert (own["found_rate"] >= least).all()
    assert ratios(own, "_apart").le(1.15).all(axis=None)


def test_five_sources_are_found_at_20_db() -> None:
    assert (accuracy("known", "ml", 5, 20.0)["found_rate"] >= 0.95).all()


def test_maximum_likelihood_searches_as_well_as_one_that_knows_the_truth() -> None:
    """`ml` finds at most 2 points less than the conditional genie, K = 1 to 3, 0 to 10 dB."""
    table = bench("accuracy_genie")
    own = table[(table["estimator"] == "ml") & (table["genie"] == "genie") & (table["n_sources"] <= 3)]
    assert len(own) == len(MODELS) * 3 * 3 and (own["n_scenes"] >= 200).all()
    assert (own["genie_difference"] >= -0.02).all()


@pytest.mark.parametrize("n_sources", [2, 3])
def test_the_unconditional_likelihood_finds_more_than_any_search_of_the_conditional_one(
    n_sources: int,
) -> None:
    """At 0 dB, `independent` sources, beyond chance."""
    table = bench("accuracy_genie")
    own = table[(table["estimator"] == "ml_unconditional") & (table["genie"] == "genie")]
    own = own[(own["source_model"] == "independent") & (own["n_sources"] == n_sources)]
    (row,) = own[own["snr_db"] == 0.0].to_dict("records")
    assert row["genie_difference_low"] > 0.0


@pytest.mark.parametrize(
    ("n_sources", "snr_db", "least"),
    [(1, 10.0, 0.95), (2, 10.0, 0.95), (3, 10.0, 0.95), (4, 20.0, 0.90), (5, 20.0, 0.90)],
)
def test_sources_are_counted(n_sources: int, snr_db: float, least: float) -> None:
    """Without the number of sources and without the noise power."""
    assert (accuracy("estimated", "ml", n_sources, snr_db)["count_accuracy"] >= least).all()


@pytest.mark.parametrize("estimator", ["ml", "nomp"])
def test_noise_is_no_source_beyond_the_stated_probability(estimator: str) -> None:
    stated = read_params(ROOT / "params.yaml").estimators.false_alarm
    own = accuracy("estimated", estimator, 0, 0.0)
    assert (own["n_scenes"] >= 1000).all()
    assert (own["false_alarm_rate"] <= stated).all()


def calibrated(table: pd.DataFrame) -> bool:
    """68 +- 5 % and 95 +- 3 % of the errors lie within one and two of the stated standard deviations."""
    near = [
        (table[[f"within_{n}_std_{parameter}" for parameter in ANGLES_AND_RANGE]] - share).abs().le(tolerance)
        for n, share, tolerance in ((1, 0.68, 0.05), (2, 0.95, 0.03))
    ]
    return all(part.all(axis=None) for part in near)


@pytest.mark.parametrize("n_sources", [2, 3])
def test_stated_standard_deviations_are_those_of_the_errors(n_sources: int) -> None:
    """400 and 600 sources at 10 dB, both source models."""
    assert calibrated(accuracy("known", "ml", n_sources, 10.0))


def test_stated_standard_deviations_are_those_of_the_errors_of_one_source() -> None:
    """In every stratum of the range, at 10 and 20 dB."""
    table = bench("accuracy_ranges")
    assert calibrated(table[table["snr_db"] >= 10.0])
