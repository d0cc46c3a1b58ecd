"""The array of a file as a pipeline can use it: what it cannot see, or tell apart, is refused beforehand."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from risolve.estimators.lattice import rectangular_lattice
from risolve.files.given_system import measured_system
from risolve.files.model_grid import grid
from risolve.files.model_params import MOST_ELEMENTS
from risolve.physics.array import Array
from risolve.physics.geometry import directions, is_line, mirror_order, mirrored, positions, radians
from risolve.physics.scenario import GivenSystem
from risolve.shapes import Elements
from stages.params import objects
from stages.params.file import PARAMS, fault, read_text, with_system
from stages.params.model import Params


def taken(stated: Params) -> tuple[Params, GivenSystem, list[str]]:
    """The parameters with the array that they name, that array, and what is said of it.

    Raises:
        ParameterError: an array, or parameters beside it, that no network can be trained for.
        MeasurementError: a missing or damaged file, or one that breaks its format.
    """
    if not stated.array.is_elsewhere:
        own = stated.receiver
        array = objects.system(stated).array()
        return stated, GivenSystem(array, own.n_antennas, own.n_snapshots, None, None), []
    system, remarks = measured_system(Path(stated.array.file))
    _require_elements(system.array, stated.array.file)
    params = with_system(PARAMS, read_text(PARAMS), stated, system)
    _require_seen(params, system)
    _require_fitting(params, system)
    shared = ", ".join(
        f"{name} of all scenes" if values is not None else f"{name} drawn by {key}"
        for name, values, key in (
            ("channel", system.channel, "channel.k_factor"),
            ("codes", system.codes, "codebook"),
        )
    )
    sizes = (
        f"{system.array.n_elements} elements, {system.n_antennas} antennas, {system.n_snapshots} snapshots"
    )
    return (
        params,
        system,
        [*remarks, f"{stated.array.file}: {sizes}, {shared}", *_coarse(params, system.array)],
    )


def _coarse(params: Params, array: Array) -> Iterator[str]:
    """What is said of a search grid with less than one and a half points a beam lambda / D."""
    extent, steps = array.elements.amax(0) - array.elements.amin(0), grid(params.of_model()).steps
    for axis, name, n_points in ((0, "n_u", params.grid.n_u), (1, "n_v", params.grid.n_v)):
        beams = float(steps[axis] * extent[axis]) / array.wavelength
        if beams > 1.0 / 1.5:
            most = math.ceil(2.0 * beams * (n_points - 1)) + 1
            yield f"grid.{name}: {n_points} points are {beams:.2g} beams apart; half a beam takes {most}"


def _require_elements(array: Array, file: str) -> None:
    if is_line(array.elements):
        law = "elements on a line see a cone, not azimuth and elevation; a network needs both"
        raise fault("array.file", f"{law}; the {array.n_elements} of {file} are on one: take `ml` for them")
    if array.n_elements > MOST_ELEMENTS:
        raise fault("array.file", f"{MOST_ELEMENTS} elements at most, {file} has {array.n_elements}")


def _require_seen(params: Params, system: GivenSystem) -> None:
    """Refuse sources that the elements do not tell from others, or that stand among the elements."""
    array, own, points = system.array, params.sources, grid(params.of_model()).sources
    image = mirrored(positions(points), array.elements, array.wavelength)
    if image is not None:
        reach = image.norm(dim=-1)
        azimuth, elevation = torch.atan2(image[:, 0], image[:, 2]), torch.asin(image[:, 1] / reach)
        among = [
            (low <= values) & (values <= high)
            for values, (low, high) in (
                (azimuth, radians(own.azimuth_deg)),
                (elevation, radians(own.elevation_deg)),
                (reach, own.range_m),
            )
        ]
        apart = (image - positions(points)).norm(dim=-1) > array.wavelength
        if bool((among[0] & among[1] & among[2] & apart).any()):
            raise fault(
                "array.file",
                f"elements in a plane, as those of {params.array.file}, do not tell a source from its mirror "
                "image behind the plane, and `sources` has both; z points to the front: turn the array, or "
                "narrow the angles of `sources` to one side of it",
            )
    nearest, reach_m = _nearest(params, array.elements), array.wavelength / (2.0 * math.pi)
    if nearest <= reach_m:
        raise fault(
            "sources.range_m",
            f"a source stands farther from every element than lambda / (2 pi) = {reach_m:.4g} m, where waves "
            f"are spherical; sources stand {nearest:.4g} m from those of {params.array.file}",
        )


def _nearest(params: Params, elements: Elements) -> float:
    """Least distance of an element from the source nearest to it, which stands in the nearest direction."""
    own, (x, y, z) = params.sources, elements.unbind(-1)
    azimuth = torch.atan2(x, z).clamp(*radians(own.azimuth_deg))
    elevation = torch.atan2(y, torch.hypot(x, z)).clamp(*radians(own.elevation_deg))
    q = directions(torch.stack((azimuth, elevation), dim=-1))
    reach = (elements * q).sum(-1).clamp(*own.range_m)
    return float((reach[:, None] * q - elements).norm(dim=-1).amin())


def _require_fitting(params: Params, system: GivenSystem) -> None:
    """Refuse parameters that are of a uniform planar array alone."""
    array, file = system.array, params.array.file
    if system.codes is None and params.codebook.kind != "random":
        raise fault(
            "codebook.kind",
            f"random, where the scenes of {file} have codes of their own; {params.codebook.kind} is of a "
            "uniform planar array",
        )
    if params.train.flips and any(mirror_order(array.elements, axis) is None for axis in (0, 1)):
        law = "mirrors scenes in x and y, where the elements are their own mirror images; those of"
        raise fault("train.flips", f"{law} {file} are not: set it to false")
    if "modified_music" in params.evaluate.estimators:
        try:
            rectangular_lattice(array)
        except ValueError as error:
            raise fault("evaluate.estimators", f"modified_music: {error}; leave it out with {file}") from None
