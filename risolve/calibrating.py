"""The door of calibration: an array from what it saw of sources at known or unknown places."""

import builtins
import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from risolve.calibration.fit import ArrayFit, fit_array
from risolve.calibration.unknowns import NAMES, Priors, Unknowns
from risolve.field import CoordinateLike, FieldOfView, coordinate_of
from risolve.files.calibrated_array import CalibratedArray
from risolve.inference.scaling import require_usable
from risolve.leaving_out import HeldOut, LeftOut, held_out, left_out
from risolve.locating import CLASSICAL, Localizer, Options, localizer_for
from risolve.physics.observation import Observation
from risolve.placing import placed_scenes, true_places

_ITERATIONS = 100

_DB = 20.0 / math.log(10.0)
"""dB of a neper."""

_FALSE_ALARM = 0.01
"""Of counting, of which there is none here."""

_UNTOLD = 0.5
"""Share of a number in what nothing tells, from which it has no deviation."""

_TRUTH = {
    "truth_azimuth": "azimuth_deg",
    "truth_elevation": "elevation_deg",
    "truth_range": "range_m",
    "truth_scale": "range_scale",
}
"""What is unknown of a truth -> its name and unit in a `CalibratedArray`."""

TruthLike = Mapping[str, ArrayLike]


def calibrate(
    observations: Observation | Sequence[Observation],
    *,
    unknown: Sequence[str],
    truth: TruthLike | Sequence[TruthLike] | None = None,
    sources: int | None = None,
    azimuth: CoordinateLike = None,
    elevation: CoordinateLike = None,
    range: CoordinateLike = None,
    gain_deviation_db: float | None = None,
    phase_deviation_deg: float | None = None,
    position_deviation: float | None = None,
    folds: int = 10,
) -> CalibratedArray:
    """What an array really is, from scenes with sources at known places, or at unknown ones (blind).

    observations: of one array. unknown: some of `gains` (complex, of every element), `antenna_phases` and
    `antenna_gains` (behind the channel of a surface), `positions` (of the elements) and `heading` (a turn of
    the array about y; beside a surface, of the base station), `coupling` (one complex factor of what elements
    that are nearest to each other take from each other), and what is wrong of the truth by the same
    everywhere: `truth_azimuth`, `truth_elevation`, `truth_range` (offsets), `truth_scale` (of ranges). truth:
    what is known of the sources, azimuth, elevation (degrees), range (m), each [scene, source], [scene] of
    one source a scene, or one number, NaN where it is not known; of several observations one each. azimuth,
    elevation, range: what is known of all sources, as `locate` takes it. What neither says is unknown, and
    found together with the array, from where the nominal array sees it. sources: how many every scene has,
    where the truth does not say. gain_deviation_db, phase_deviation_deg: standard deviations of the gains of
    elements from 1, where they are known to be small; position_deviation: of each coordinate of an element
    (m), needed for `positions`.

    What no snapshot tells, as a factor of all gains, stays nominal and is named (`not_told`). Scenes that do
    not fit, as those of a wrong truth, lose weight and are a `UserWarning`.

    folds: the places that are known are left out in as many parts, at most, and located with the array that
    the others show. Where they are not located better, the array stays nominal, which is a `UserWarning`; by
    how much their errors exceed the deviations stated is what `locate` adds to these. 0: none is left out.

    Raises:
        TypeError: what is no observation, no number or no list.
        ValueError: arrays that differ, unknowns that are none or that the snapshots do not determine, no
            number of sources, a truth that contradicts what is stated, deviations that are not positive.
    """
    seen = [observations] if isinstance(observations, Observation) else list(observations)
    if isinstance(unknown, str):
        raise TypeError(f"unknown is a list of names, got {unknown!r} alone")
    if isinstance(folds, bool):
        raise TypeError(f"folds is a whole number, got {folds!r}")
    asked = Asked(
        unknown=tuple(unknown),
        field=FieldOfView(
            coordinate_of("azimuth", azimuth),
            coordinate_of("elevation", elevation),
            coordinate_of("range", range),
        ),
        sources=None if sources is None else operator.index(sources),
        gain_deviation_db=gain_deviation_db,
        phase_deviation_deg=phase_deviation_deg,
        position_deviation=position_deviation,
        folds=operator.index(folds),
    )
    found, doubts = calibrated(seen, truth, asked)
    names = [f"observation {number}" for number in builtins.range(len(seen))]
    for line in (*outlying_lines(found.outlying, names), *doubts):
        warnings.warn(line, stacklevel=2)
    return found


class Asked(NamedTuple):
    """What is asked of a calibration, as `calibrate` has it."""

    unknown: tuple[str, ...]
    field: FieldOfView
    sources: int | None
    gain_deviation_db: float | None
    phase_deviation_deg: float | None
    position_deviation: float | None
    folds: int


def calibrated(
    seen: Sequence[Observation], truth: TruthLike | Sequence[TruthLike] | None, asked: Asked
) -> tuple[CalibratedArray, list[str]]:
    """An array from observations with what is known of each, and what is doubtful beside outlying scenes.

    Raises:
        TypeError, ValueError: as `calibrate`.
    """
    _check_alike(seen)
    priors = Priors(
        None if asked.gain_deviation_db is None else asked.gain_deviation_db / _DB,
        None if asked.phase_deviation_deg is None else math.radians(asked.phase_deviation_deg),
        asked.position_deviation,
    )
    ordered = sorted(asked.unknown, key=lambda name: NAMES.index(name) if name in NAMES else len(NAMES))
    unknowns = Unknowns(tuple(ordered), seen[0].array, seen[0].n_antennas, priors)
    if asked.folds < 0 or asked.folds == 1:
        raise ValueError(f"folds is 2 or more, or 0 to leave nothing out; got {asked.folds}")
    places = []
    for own, known in zip(seen, _truths(truth, len(seen)), strict=True):
        if not known and asked.sources is None:
            law = "how many every scene has, where there is no truth that says it"
            raise ValueError(f"sources: {law}; got None")
        places.append(true_places(known, own.n_scenes, asked.sources))

    def localizer(observation: Observation, n_sources: int) -> Localizer:
        options = Options(CLASSICAL, n_sources, asked.field, _FALSE_ALARM, Path())
        return localizer_for(observation, options, "the observation")

    placed = [
        placed_scenes(own, true, localizer(own, true.shape[1]))
        for own, true in zip(seen, places, strict=True)
    ]
    found = fit_array(placed, unknowns, _ITERATIONS)
    checked: LeftOut | HeldOut | None = left_out(placed, places, found, localizer, asked.folds, _ITERATIONS)
    if checked is None:
        checked = held_out(placed, places, found, asked.folds, _ITERATIONS)
    return _calibrated(found, checked), _doubts(found, checked)


def outlying_lines(outlying: Sequence[tuple[int, int]], names: Sequence[str]) -> list[str]:
    """A line for each observation with scenes that do not fit; names: of the observations."""
    return [
        f"{name}: scenes {scenes} leave more than four times what others do, and weigh little: is their "
        "truth right, or is there a reflection?"
        for number, name in enumerate(names)
        if (scenes := [scene for own, scene in outlying if own == number])
    ]


def _check_alike(seen: Sequence[Observation]) -> None:
    """Observations of one array, through as many antennas."""
    for number, own in enumerate(seen):
        if not isinstance(own, Observation):
            raise TypeError(f"calibrate takes observations, got {type(own).__name__}")
        require_usable(own)
        if own.array.n_bands > 1:
            raise ValueError(
                "calibrate takes observations of one wavelength; got "
                f"{own.array.n_bands} in observation {number}"
            )
        if own.noise == "antennas":
            raise ValueError(
                "calibrate takes noise that is alike at all antennas, or of powers that are stated; got "
                f'noise="antennas" in observation {number}: give noise_power to it'
            )
        if own.gains == "equal":
            raise ValueError(
                "calibrate takes sources that have an amplitude each; got gains = equal in observation "
                f"{number}: leave it out"
            )
        first = seen[0]
        for name, one, other in (
            ("elements", first.n_elements, own.n_elements),
            ("antennas", first.n_antennas, own.n_antennas),
            ("wavelength", first.array.wavelength, own.array.wavelength),
            ("spherical_amplitude", first.array.spherical_amplitude, own.array.spherical_amplitude),
        ):
            if one != other:
                raise ValueError(
                    f"observations of one array: {name} {one} in observation 0 and {other} in {number}"
                )
        off = float((first.array.elements - own.array.elements).abs().amax())
        if off:
            raise ValueError(
                f"observations of one array: places of elements differ by up to {off:.3g} m between "
                f"observation 0 and {number}"
            )
    if not seen:
        raise ValueError("calibrate takes one observation or more, got none")


def _truths(truth: TruthLike | Sequence[TruthLike] | None, count: int) -> list[TruthLike]:
    if truth is None:
        return [{}] * count
    held = [truth] if isinstance(truth, Mapping) else list(truth)
    if len(held) != count:
        raise ValueError(f"truth is one mapping for each observation, {count}; got {len(held)}")
    return held


def _doubts(found: ArrayFit, checked: LeftOut | HeldOut | None) -> list[str]:
    lines = []
    if not found.converged:
        lines.append(
            f"the likelihood still rises after {_ITERATIONS} steps: take more scenes, or leave unknowns out"
        )
    if isinstance(checked, HeldOut) and not checked.is_better:
        before, after = checked.before.mean(), checked.after.mean()
        lines.append(
            f"scenes that took no part are not more likely: log-likelihood {before:.2f} a scene with the "
            f"nominal array, {after:.2f} with the one that the others show; the array stays nominal"
        )
    if isinstance(checked, LeftOut) and not checked.is_better:
        before, after = (checked.typical(errors) for errors in (checked.before, checked.after))
        what, unit = "median error of inverse ranges", "/m"
        if not checked.of_ranges:
            before, after = np.rad2deg(before), np.rad2deg(after)
            what, unit = "mean error", "degrees"
        lines.append(
            f"places that took no part are not located better: {what} {before:.3g} {unit} with the nominal "
            f"array, {after:.3g} with the one that the others show; the array stays nominal"
        )
    return lines


def _calibrated(found: ArrayFit, checked: LeftOut | HeldOut | None) -> CalibratedArray:
    is_better, N = checked is None or checked.is_better, found.unknowns.array.n_elements
    calibration = found.calibration if is_better else found.unknowns.calibration(found.unknowns.nothing())
    untold = found.null_space.total.square().sum(1) > _UNTOLD
    stated = torch.where(untold, torch.nan, found.covariance.diagonal().clamp_min(0.0).sqrt()).numpy()
    k, deviations = found.unknowns.wavenumber, {}
    truth = found.unknowns.truth(found.theta if is_better else found.unknowns.nothing())
    for name, part in found.unknowns.parts.items():
        own = stated[part]
        match name:
            case "gains":
                deviations["gain_db"], deviations["gain_phase_deg"] = _DB * own[:N], np.rad2deg(own[N:])
            case "antenna_phases":
                deviations["antenna_phase_deg"] = np.rad2deg(own)
            case "antenna_gains":
                deviations["antenna_gain_db"] = _DB * own
            case "positions":
                deviations["position_m"] = own.reshape(3, N).T / k
            case "heading":
                deviations["heading_deg"] = np.rad2deg(own / (k * found.unknowns.lever))
            case "coupling":
                deviations["coupling"] = own
            case "truth_range":
                deviations["truth_range_m"] = own / k
            case "truth_scale":
                deviations["truth_range_scale"] = own * truth[name]
            case _:
                deviations[f"{name}_deg"] = np.rad2deg(own / (k * found.unknowns.reach))
    return CalibratedArray(
        array=calibration.array,
        element_gains=calibration.element_gains.numpy(),
        antenna_gains=calibration.antenna_gains.numpy(),
        heading_deg=None if calibration.heading is None else math.degrees(calibration.heading),
        coupling=calibration.coupling,
        truth={
            _TRUTH[name]: math.degrees(value) if _TRUTH[name].endswith("deg") else value
            for name, value in truth.items()
        },
        deviations=deviations,
        not_told=found.null_space.words,
        outlying=tuple((number, scene) for number, part in enumerate(found.outlying) for scene in part),
        log_likelihood=found.log_likelihood,
        left_out=_table(checked) if isinstance(checked, LeftOut) else None,
        held_out=_likelihoods(checked) if isinstance(checked, HeldOut) else None,
        is_better=is_better,
        excess=np.full(3, np.nan) if checked is None else checked.excess(),
        calibration=calibration,
    )


def _table(checked: LeftOut) -> pd.DataFrame:
    """Errors and deviations in degrees and 1/m, without columns of coordinates that were not known."""
    columns = dict(zip(("observation", "scene", "source"), checked.rows.T, strict=True))
    for when, errors, stated in (
        ("before", checked.before, checked.stated_before),
        ("after", checked.after, checked.stated_after),
    ):
        for index, name in enumerate(("azimuth_{}_deg", "elevation_{}_deg", "inverse_range_{}_per_m")):
            if not np.isnan(errors[:, index]).all():
                unit = np.rad2deg if index < 2 else np.positive
                columns[name.format(f"error_{when}")] = unit(errors[:, index])
                columns[name.format(f"std_{when}")] = unit(stated[:, index])
    return pd.DataFrame(columns)


def _likelihoods(checked: HeldOut) -> pd.DataFrame:
    columns = dict(zip(("observation", "scene"), checked.rows.T, strict=True))
    before, after = checked.before, checked.after
    return pd.DataFrame(columns | {"log_likelihood_before": before, "log_likelihood_after": after})
