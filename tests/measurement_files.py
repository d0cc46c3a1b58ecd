"""Measurement files as a user writes them: with h5py, any system, and any one thing changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from risolve.physics.scenario import Scenes
from tests.worlds import DEFAULT, FIELD_OF_VIEW, SPREAD_SOURCES, WIDE, direct_array, make_scenes

Change = Callable[[h5py.File], None]

MILLIMETRES = replace(
    DEFAULT, n_horizontal=16, n_vertical=8, spacing=0.005, wavelength=0.01, n_antennas=12, n_snapshots=24
)
"""Another array at another wavelength: 16 x 8 elements at 30 GHz, 12 antennas, 24 snapshots."""


def write_user_file(path: Path, scenes: Scenes, *, truth: bool = True, noise_power: bool = True) -> Path:
    """Only what a user has: of the truth, the number of sources and their places."""
    observation = scenes.observation
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "risolve-measurements"
        file.attrs["version"] = 1
        file.attrs["wavelength_m"] = observation.array.wavelength
        file.attrs["source_model"] = observation.source_model
        file["snapshots"] = observation.snapshots.numpy()
        file["channel"] = observation.channel.numpy()
        file["codes"] = observation.codes.numpy()
        file["element_positions_m"] = observation.array.elements.numpy()
        if noise_power and observation.noise_power is not None:
            file["noise_power"] = observation.noise_power.numpy()
        if truth:
            azimuth, elevation, inverse_range = scenes.sources.unbind(-1)
            file["truth/n_sources"] = scenes.n_sources.numpy()
            file["truth/azimuth_deg"] = torch.rad2deg(azimuth).numpy()
            file["truth/elevation_deg"] = torch.rad2deg(elevation).numpy()
            file["truth/range_m"] = (1.0 / inverse_range).numpy()
    return path


def as_npz(path: Path) -> Path:
    """The same attributes and data sets as a NumPy archive, as a user writes it."""
    with h5py.File(path, "r") as file:
        entries = dict(file.attrs)

        def add(name: str, held: h5py.Dataset | h5py.Group) -> None:
            if isinstance(held, h5py.Dataset):
                entries[name] = held[()]

        file.visititems(add)
    np.savez(path.with_suffix(".npz"), **entries)
    return path.with_suffix(".npz")


def changed(path: Path, *changes: Change) -> Path:
    """The same file with changes."""
    with h5py.File(path, "r+") as file:
        for change in changes:
            change(file)
    return path


def in_turn(*changes: Change) -> Change:
    """Several changes, one after the other."""

    def change(file: h5py.File) -> None:
        for one in changes:
            one(file)

    return change


def at(field: str, index: Any, value: Any) -> Change:
    """field[index] = value"""

    def change(file: h5py.File) -> None:
        file[field][index] = value

    return change


def with_values(field: str, make: Callable[[np.ndarray], Any]) -> Change:
    """The data set of a field made anew from its values."""

    def change(file: h5py.File) -> None:
        values = make(file[field][()])
        del file[field]
        file[field] = values

    return change


def attribute(name: str, value: Any) -> Change:
    """An attribute of the file."""

    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def without(*names: str) -> Change:
    """The file without some data sets."""

    def change(file: h5py.File) -> None:
        for name in names:
            del file[name]

    return change


def spread_scenes(n_scenes: int = 4) -> Scenes:
    """Two well separated sources in every scene of the array of 5 x 8 elements."""
    return make_scenes(WIDE, 2, 20.0, n_scenes, sources=SPREAD_SOURCES[:2])


def worlds() -> dict[str, Scenes]:
    """Systems of every kind, with sources that stand well apart."""
    near = replace(FIELD_OF_VIEW, range=(0.03, 0.5))
    places = tuple((azimuth, elevation, 10.0 * w) for azimuth, elevation, w in SPREAD_SOURCES[:2])
    fixed = replace(MILLIMETRES, codebook="dft2d")
    bent = direct_array(SPREAD_SOURCES[:2], 20.0, 3, n_snapshots=6)
    return {
        "another array": make_scenes(MILLIMETRES, 2, 20.0, 3, distribution=near, sources=places),
        "one channel and one code set": make_scenes(
            fixed, 2, 20.0, 3, distribution=near, sources=places, shared_channel=True
        ),
        "constant sources": make_scenes(WIDE, 2, 20.0, 3, "constant", sources=SPREAD_SOURCES[:2]),
        "no surface": bent,
    }
