"""Small files that are right, of every kind and layout: what the fuzzers begin with."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch

from risolve.calibration.array_calibration import ArrayCalibration
from risolve.files import bounds as bound_file
from risolve.files import covariances as covariance_file
from risolve.files import estimates as estimates_file
from risolve.files import located_sources
from risolve.files import sources as sources_file
from risolve.files.calibrated_array import CalibratedArray
from risolve.files.calibrated_arrays import write_array
from risolve.physics.array import planar

_MATLAB_BYTES = 512
"""What MATLAB puts before HDF5."""

ANY, NEWEST = ("earliest", "latest"), ("latest", "latest")

Content = dict[str, Any]
"""Data sets by path, attributes under "@"."""


def measurements(seed: int = 5, n_scenes: int = 3) -> Content:
    """A source in every scene of a surface of 3 x 2 elements, 3 antennas and 4 snapshots, with its truth."""
    random = np.random.default_rng(seed)

    def complex_normal(*shape: int) -> np.ndarray:
        return ((random.standard_normal(shape) + 1j * random.standard_normal(shape)) / np.sqrt(2)).astype(
            "c8"
        )

    x, y = np.meshgrid((np.arange(3) - 1.0) * 0.05, (np.arange(2) - 0.5) * 0.05)
    elements = np.stack((x.ravel(), y.ravel(), np.zeros(6)), axis=-1)
    channel = complex_normal(1, 3, 6)
    codes = np.exp(2j * np.pi * random.random((1, 4, 6))).astype("c8")
    signal = (codes * complex_normal(n_scenes, 4, 1)) @ channel.transpose(0, 2, 1)
    return {
        "@": {
            "format": "risolve-measurements",
            "version": 1,
            "wavelength_m": 0.1,
            "source_model": "independent",
        },
        "snapshots": (signal + 0.1 * complex_normal(n_scenes, 4, 3)).astype("c8"),
        "channel": channel,
        "codes": codes,
        "element_positions_m": elements,
        "noise_power": np.full(n_scenes, 0.01),
        "truth/n_sources": np.ones(n_scenes, "i4"),
        "truth/azimuth_deg": np.full((n_scenes, 1), -20.0),
        "truth/elevation_deg": np.full((n_scenes, 1), 5.0),
        "truth/range_m": np.full((n_scenes, 1), 0.6),
    }


def bands() -> Content:
    """The same in two bands, as version 2 holds them."""
    held = {0.1: measurements(), 0.11: measurements(6)}
    own = ("snapshots", "channel", "codes", "noise_power")
    shared = {name: values for name, values in measurements().items() if name not in own}
    by_band = {
        f"bands/{number}/{name}": content[name]
        for number, content in enumerate(held.values())
        for name in own
    }
    stated = {"format": "risolve-measurements", "version": 2, "source_model": "constant"}
    return shared | by_band | {"wavelengths_m": np.array(list(held)), "@": stated}


def write(path: Path, content: Content, generation: tuple[str, str] = ANY, **options: Any) -> None:
    """One file of a generation of the format; options of its data sets with axes."""
    with h5py.File(path, "w", libver=generation) as file:
        for name, values in content.items():
            if name == "@":
                file.attrs.update(values)
            else:
                file.create_dataset(name, data=values, **(options if np.ndim(values) else {}))


def write_matlab_hdf5(path: Path, held: Mapping[str, Any], **options: Any) -> Path:
    """Variables as `save -v7.3` lays them out: two axes at least, all turned round, complex numbers as
    compounds, text as uint16.
    """
    with h5py.File(path, "w", userblock_size=_MATLAB_BYTES) as file:
        _put(file, held, options)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\0\2IM"
    with path.open("r+b") as raw:
        raw.write(head.ljust(_MATLAB_BYTES, b"\0"))
    return path


def _put(group: h5py.Group, held: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    for name, value in held.items():
        if isinstance(value, Mapping):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            _put(inner, value, options)
            continue
        is_text = isinstance(value, str)
        values = (
            np.array([ord(letter) for letter in value], np.uint16)[None] if is_text else np.asarray(value)
        )
        values = np.atleast_2d(values).T
        if values.dtype.kind == "c":
            pair = np.empty(values.shape, [("real", values.real.dtype), ("imag", values.real.dtype)])
            pair["real"], pair["imag"] = values.real, values.imag
            values = pair
        dataset = group.create_dataset(name, data=values, **options)
        dataset.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")


def _bytes_of(directory: Path, make: Callable[[Path], None]) -> bytes:
    path = directory / "valid.h5"
    make(path)
    content = path.read_bytes()
    path.unlink()
    return content


def banded_files(directory: Path) -> list[bytes]:
    """Measurements of two wavelengths, of both generations of the format."""
    return [
        _bytes_of(directory, lambda path, form=form: write(path, bands(), form)) for form in (ANY, NEWEST)
    ]


def measurement_files(directory: Path) -> list[bytes]:
    """Measurements of both generations of the format, in one piece, in chunks, and packed."""
    layouts: tuple[dict[str, Any], ...] = (
        {},
        {},
        {"generation": ("v108", "v110")},
        {"generation": NEWEST},
        {"chunks": True},
        {"compression": "gzip", "shuffle": True},
        {"generation": NEWEST, "chunks": True, "compression": "lzf", "fletcher32": True},
    )
    content = measurements()
    return [_bytes_of(directory, lambda path, own=own: write(path, content, **own)) for own in layouts]


def other_files(directory: Path) -> list[bytes]:
    """Covariances, bounds, estimates and located sources."""
    random = torch.Generator().manual_seed(3)
    factor = torch.randn((3, 2, 6), dtype=torch.complex64, generator=random)
    factor *= (6.0 / factor.abs().square().sum((1, 2), keepdim=True)).sqrt()
    maps = covariance_file.Maps(torch.rand((3, 1, 8), generator=random), torch.ones(3), (0,), (2, 2, 2))
    covariances = covariance_file.Covariances(factor, "independent", maps)
    deviation = torch.full((3, 2), 0.1, dtype=torch.float64)
    deviations = bound_file.Deviations(deviation, deviation, deviation, deviation, deviation)
    bounds = bound_file.Bounds("independent", deviations, deviations)
    estimates: Content = {
        "@": {"format": estimates_file.FORMAT, "version": estimates_file.VERSION, "methods": "known/ml"},
        **{f"known/ml/{name}": np.zeros((3, 2, 3)) for name in ("sources", "deviations")},
        **{f"known/ml/{name}": np.zeros(3) for name in ("log_likelihood", "count_confidence")},
        "known/ml/resolved": np.ones(3, bool),
        "known/ml/cpu_s": np.ones(1),
    }
    located = located_sources.LocatedSources(
        estimator="ml",
        files=("user.h5",),
        file=np.zeros(3, np.int64),
        scene=np.array([0, 0, 2]),
        source=np.array([0, 1, 0]),
        values=np.ones((3, len(located_sources.VALUES))),
        scenes=np.array([[0, 0, 2], [0, 2, 1]]),
        scene_values=np.ones((2, len(located_sources.SCENE_VALUES))),
        left_out=((0, 1, "all zero"),),
    )
    makers: tuple[Callable[[Path], None], ...] = (
        lambda path: covariance_file.write_covariances(path, covariances),
        lambda path: bound_file.write_bounds(path, bounds),
        lambda path: write(path, estimates),
        lambda path: sources_file.write_sources(path, located),
    )
    return [_bytes_of(directory, make) for make in makers]


def array_files(directory: Path) -> list[bytes]:
    """A calibrated surface of which everything was unknown, and an array of which nothing is said."""
    random = np.random.default_rng(7)
    nominal = planar(3, 2, 0.05, 0.1)
    moved = replace(nominal, elements=nominal.elements + 0.001)
    gains = np.exp(1j * random.standard_normal(6))
    errors = ("azimuth_error_before_deg", "azimuth_std_before_deg", "azimuth_error_after_deg")
    full = CalibratedArray(
        array=moved,
        element_gains=gains,
        antenna_gains=gains[:3],
        heading_deg=2.0,
        coupling=0.1 + 0.2j,
        truth={"azimuth_deg": 1.0, "elevation_deg": -1.0, "range_m": 0.1, "range_scale": 1.02},
        deviations={
            "gain_db": np.full(6, 0.1),
            "gain_phase_deg": np.full(6, np.nan),
            "antenna_phase_deg": np.full(3, 2.0),
            "position_m": np.full((6, 3), 0.001),
            "coupling": np.full(2, 0.01),
            "truth_range_m": np.full(1, 0.01),
        },
        not_told=("the common phase of the gains is not told",),
        outlying=((0, 3), (1, 2)),
        log_likelihood=(-20.0, -10.0),
        left_out=pd.DataFrame(
            {"observation": [0], "scene": [1], "source": [0], **dict.fromkeys(errors, 0.5)}
        ),
        held_out=pd.DataFrame(
            {"observation": [0], "scene": [1], "log_likelihood_before": -3.0, "log_likelihood_after": -2.0}
        ),
        is_better=True,
        excess=np.array([0.01, np.nan, 0.0]),
        calibration=ArrayCalibration(
            nominal, moved, torch.from_numpy(gains), torch.from_numpy(gains[:3]), 0.035, 0.1 + 0.2j
        ),
    )
    bare = replace(
        full,
        heading_deg=None,
        coupling=None,
        truth={},
        deviations={},
        not_told=(),
        outlying=(),
        left_out=None,
        held_out=None,
    )
    return [_bytes_of(directory, lambda path, one=one: write_array(path, one)) for one in (full, bare)]
