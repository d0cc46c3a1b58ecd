"""HDF5 files that are whole, and odd: types, shapes, numbers, links, attributes, layouts and filters."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import h5py
import numpy as np

from benchmarks.fuzz._hdf5_valid import ANY, NEWEST, measurements, write
from risolve.files.contents import Refused
from risolve.files.hdf5_objects import guarded

Random: TypeAlias = np.random.Generator
Change: TypeAlias = Callable[[h5py.File, str, Random], None]

_TYPES: tuple[Any, ...] = (
    *("f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">f8", ">i4", "?"),
    *("c8", "c16", "G", ">c8", ">c16", "S5", "V4"),
    [("re", "f4"), ("im", "f4")],
    [("r", "f2"), ("i", "f2")],
    ("f4", (2,)),
)
_NAMES = tuple(name for name in measurements() if name != "@")
_NUMBERS = (0.0, -1.0, 1e-320, 1e-45, 1e38, 1e300, np.nan, np.inf, -np.inf, 2.0**31, 2.0**63)
_WORDS: tuple[Any, ...] = (
    *(
        "",
        "x",
        "moving",
        "constant",
        b"\xff\xfe",
        "\x1b[31m",
        0,
        1,
        2,
        -1,
        2**63 - 1,
        True,
        0.1,
        1e-320,
        1e300,
    ),
    *(np.nan, np.inf, np.longdouble(0.1), np.float16(0.1), 0.1 + 0.1j, np.arange(3), np.array([], "f8")),
    *(np.array("2020", "S4"), np.array([1.0]), h5py.Empty("f8"), np.array(["a", "b"], object)),
)


@cache
def _whole(n_scenes: int, newest: bool) -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "whole.h5"
        write(path, measurements(n_scenes=n_scenes), NEWEST if newest else ANY)
        return path.read_bytes()


def odd_file(path: Path, number: int, seed: int) -> None:
    """Measurements after one to three changes."""
    random = np.random.default_rng((seed, number, 1))
    path.write_bytes(_whole(int(random.integers(1, 4)), random.random() < 0.2))
    with h5py.File(path, "r+") as file:
        for _ in range(random.integers(1, 4)):
            names = [name for name in _NAMES if _is_whole(file, name)]
            change, name = _CHANGES[random.integers(len(_CHANGES))], str(random.choice(names))
            # some changes of a changed data set are none that h5py can make
            with suppress(Refused), guarded():
                change(file, name, random)


def _is_whole(file: h5py.File, name: str) -> bool:
    """Whether a data set stands in the file, reached by hard links."""
    above = name.rpartition("/")[0]
    if above and not _is_hard(file, above):
        return False
    if not _is_hard(file, name) or file.get(name, getclass=True) is not h5py.Dataset:
        return False
    return file[name].shape is not None and not file[name].is_virtual


def _is_hard(file: h5py.File, name: str) -> bool:
    return name in file and file.get(name, getlink=True, getclass=True) is h5py.HardLink


def _replace(file: h5py.File, name: str, values: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=values, **options)


def _type(file: h5py.File, name: str, random: Random) -> None:
    dtype = np.dtype(_TYPES[random.integers(len(_TYPES))])
    old = file[name]
    if dtype.kind in "fiuc?" and old.dtype.kind in "fiucb" and dtype.subdtype is None:
        with np.errstate(all="ignore"):
            values = old[()]
            _replace(file, name, (values.real if dtype.kind not in "c" else values).astype(dtype))
    else:
        shape = old.shape
        _replace(file, name, np.zeros(shape, dtype))


def _shape(file: h5py.File, name: str, random: Random) -> None:
    values = file[name][()]
    if not np.ndim(values):
        return
    axis = int(random.integers(values.ndim))
    makers: tuple[Callable[[], np.ndarray], ...] = (
        lambda: values.T,
        lambda: values[0],
        lambda: values[None],
        lambda: values[..., None],
        lambda: np.moveaxis(values, axis, 0),
        lambda: values.ravel(),
        lambda: np.repeat(values, 2, axis),
        lambda: np.take(values, [0], axis),
        lambda: np.take(values, [], axis),
        lambda: np.repeat(values, 300, axis),
    )
    if 0 not in values.shape:
        _replace(file, name, makers[random.integers(len(makers))]())


def _number(file: h5py.File, name: str, random: Random) -> None:
    values = np.atleast_1d(file[name][()])
    if values.dtype.kind not in "fciu" or not values.size:
        return
    number = _NUMBERS[random.integers(len(_NUMBERS))]
    with np.errstate(all="ignore"):
        if random.random() < 0.5:
            values.flat[random.integers(values.size)] = np.array(number).astype(values.dtype)
        else:
            wide = values.astype("c16" if values.dtype.kind == "c" else "f8")
            values = wide * number if random.random() < 0.5 else np.full_like(wide, number)
    _replace(file, name, values)


def _link(file: h5py.File, name: str, random: Random) -> None:
    targets: tuple[Any, ...] = (
        h5py.SoftLink(f"/{name}"),
        h5py.SoftLink("/codes"),
        h5py.SoftLink("/nowhere"),
        h5py.ExternalLink("elsewhere.h5", "/x"),
        h5py.ExternalLink("/etc/passwd", "/"),
        file["/"],
        file["codes"] if "codes" in file else file["/"],
        np.dtype("f8"),
    )
    target = targets[random.integers(len(targets))]
    del file[name]
    file[name] = target
    if random.random() < 0.2:
        file["truth/again"] = file["/"]


def _attribute(file: h5py.File, name: str, random: Random) -> None:
    own = str(random.choice(["format", "version", "wavelength_m", "source_model", "more"]))
    kind = random.integers(6)
    if kind == 0 and own in file.attrs:
        del file.attrs[own]
    elif kind == 1:
        file.attrs.create(own, file.ref, dtype=h5py.ref_dtype)
    elif kind == 2:
        file.attrs.create(own, np.arange(4), dtype=h5py.vlen_dtype("i4"), shape=()) if own == "more" else None
    else:
        file.attrs[own] = _WORDS[random.integers(len(_WORDS))]


def _layout(file: h5py.File, name: str, random: Random) -> None:
    values = np.asarray(file[name][()])
    shape, dtype = values.shape, values.dtype
    if not shape or 0 in shape or dtype.hasobject:
        return
    kind = random.integers(10)
    if kind < 4:
        options: tuple[dict[str, Any], ...] = (
            {"compression": "gzip", "shuffle": True},
            {"compression": "lzf", "fletcher32": True},
            {"chunks": True, "maxshape": (None,) * len(shape)},
            {"scaleoffset": 3} if dtype.kind in "iu" else {"compression": "gzip", "compression_opts": 9},
        )
        _replace(file, name, values, **options[kind])
        return
    del file[name]
    if kind == 4:
        file.create_dataset(name, shape, dtype)
    elif kind == 5:
        file.create_dataset(name, (10 ** int(random.integers(1, 9)), *shape[1:]), dtype, compression="gzip")
    elif kind == 6:
        file.create_dataset(name, shape, dtype, chunks=True, fillvalue=random.choice([0, 1]))[:1] = values[:1]
    elif kind == 7:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(random.choice([".", "gone.h5"]), "codes", shape)
        file.create_virtual_dataset(name, layout)
    elif kind == 8:
        place = random.choice(["/etc/passwd", "gone.raw", "/dev/zero"])
        file.create_dataset(name, shape, dtype, external=[(place, 0, h5py.h5f.UNLIMITED)])
    else:
        _unknown_filter(file, name, values, random)


def _unknown_filter(file: h5py.File, name: str, values: np.ndarray, random: Random) -> None:
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk(values.shape)
    made.set_filter(int(random.choice([32001, 32015, 307, 40000])), h5py.h5z.FLAG_OPTIONAL, (1, 2))
    kind, space = h5py.h5t.py_create(values.dtype, logical=True), h5py.h5s.create_simple(values.shape)
    parent = file.require_group(name.rpartition("/")[0] or "/")
    own = h5py.h5d.create(parent.id, name.rpartition("/")[2].encode(), kind, space, dcpl=made)
    own.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)


def _other(file: h5py.File, name: str, random: Random) -> None:
    del file[name]
    kind = random.integers(6)
    if kind == 0:
        file.create_group(name)
    elif kind == 1:
        file[name] = h5py.Empty(random.choice(["f8", "c8"]))
    elif kind == 2:
        file[name] = "text"
    elif kind == 3:
        file.create_dataset(name, (3,), h5py.vlen_dtype("f8"))
    elif kind == 4:
        file.create_dataset(name, (3,), h5py.ref_dtype)


_CHANGES: tuple[Change, ...] = (
    *(_type, _shape, _number, _number, _link, _attribute, _attribute, _layout, _layout, _other),
)
