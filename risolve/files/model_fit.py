"""Whether the weights of a network are valid for an array: everything that differs, with both values."""

import torch

from risolve.files import model_grid
from risolve.files.model_params import ArrayLayout, ModelParams
from risolve.physics.array import Array
from risolve.physics.geometry import nearest_spacing

_SAME_WAVELENGTH = 1e-6
"""Relative."""

_SAME_PLACE = 1e-3
"""Wavelengths by which an element may stand elsewhere: 0.4 degrees of phase."""


def differences(params: ModelParams, array: Array, n_antennas: int, n_snapshots: int) -> list[str]:
    """Why a network does not read the measurements of an array, in words; empty where it does."""
    own, found = params.array, []
    if abs(array.wavelength / own.wavelength_m - 1.0) > _SAME_WAVELENGTH:
        found.append(f"wavelength_m is {array.wavelength:g}, the model's {own.wavelength_m:g}")
    layout = "of a file of measurements"
    if isinstance(own, ArrayLayout):
        layout = f"{own.n_horizontal} x {own.n_vertical}, {own.spacing_m:g} m apart, vertical index slow"
    if array.n_elements != own.n_elements:
        found.append(f"elements are {array.n_elements}, the model's {own.n_elements} ({layout})")
    else:
        away = (array.elements - model_grid.nominal_array(params).elements).norm(dim=-1)
        worst = int(torch.argmax(away))
        if float(away[worst]) > _SAME_PLACE * own.wavelength_m:
            found.append(
                f"element_positions_m: element {worst} stands {float(away[worst]):.3g} m from its place in "
                f"the model's layout ({layout}; here they are {nearest_spacing(array.elements):.3g} m apart)"
            )
    for name, held, trained in (
        ("antennas", n_antennas, params.receiver.n_antennas),
        ("snapshots", n_snapshots, params.receiver.n_snapshots),
    ):
        if held != trained:
            found.append(f"{name} are {held}, the model's {trained}")
    return found
