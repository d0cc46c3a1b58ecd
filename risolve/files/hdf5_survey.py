"""What an open HDF5 file holds, object by object; what is broken or elsewhere is known by its name alone."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np

from risolve.files.contents import (
    MOST_ATTRIBUTE_BYTES,
    MOST_BYTES,
    READABLE,
    Contents,
    Refused,
    StoredField,
    StoredGroup,
    Unread,
    as_complex,
    plain,
)
from risolve.files.hdf5_objects import Hdf5Field, guarded

_MOST_OBJECTS, _MOST_DEPTH = 10_000, 32
_COPY = "copy the data into the file"
_LINKS = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
_FILTERS = {
    4: "szip",
    307: "bzip2",
    32000: "lzf",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32026: "Blosc2",
}
_SIMPLE = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.ENUM)
_EXPANSION = 1100
"""Bytes that one packed byte may stand for; deflate, the strongest filter in use, comes to 1032."""


def survey(file: h5py.File, unread: Mapping[str, str], before: Callable[[str], None]) -> Contents:
    """What an open file holds.

    unread: laws by name of what is known to be broken, and is not touched. before: is told each name before
    it is looked at.
    """
    return _Surveyor(file, unread, before).survey()


class _Surveyor:
    def __init__(self, file: h5py.File, unread: Mapping[str, str], before: Callable[[str], None]) -> None:
        self._file, self._unread, self._before = file, unread, before
        self._n_bytes = os.fstat(file.id.get_vfd_handle()).st_size
        self._objects: dict[str, StoredField | StoredGroup | Unread] = {}

    def survey(self) -> Contents:
        # a file is nothing without its format, under whose name all attributes go where they cannot be listed
        names = self._entry("attribute format", self._attribute_names)
        if isinstance(names, Unread):
            attributes = {"format": names}
        else:
            attributes = {
                name: self._entry(f"attribute {name}", self._attribute, held) for name, held in names.items()
            }
        root = self._entry("/", h5py.h5g.open, self._file.id, b"/")
        if isinstance(root, Unread):
            self._objects[""] = root
        else:
            self._list("", root, ())
        return Contents(attributes, self._objects)

    def _entry(self, name: str, look: Callable[..., Any], *arguments: Any) -> Any:
        if name in self._unread:
            return Unread(self._unread[name])
        self._before(name)
        try:
            with guarded():
                return look(*arguments)
        except Refused as refused:
            return Unread(str(refused))

    def _list(self, path: str, group: h5py.h5g.GroupID, above: tuple[int, ...]) -> None:
        """Enter what a group holds, and the groups in it, depth first."""
        found = self._entry(f"{path}/ its names", lambda: (h5py.h5o.get_info(group).addr, list(group)))
        if not isinstance(found, Unread) and (found[0] in above or len(above) >= _MOST_DEPTH):
            found = Unread(f"a group that holds itself, or groups more than {_MOST_DEPTH} deep")
        if isinstance(found, Unread):
            self._objects[path] = found
            return
        address, links = found
        for link in links:
            name = f"{path}/{link.decode('utf-8', 'backslashreplace')}".removeprefix("/")
            if len(self._objects) >= _MOST_OBJECTS:
                self._objects[path] = Unread(f"at most {_MOST_OBJECTS} objects a file")
                return
            held = self._entry(name, self._object, group, link)
            if isinstance(held, h5py.h5g.GroupID):
                self._objects[name] = StoredGroup()
                self._list(name, held, (*above, address))
            else:
                self._objects[name] = held

    def _object(self, group: h5py.h5g.GroupID, link: bytes) -> "h5py.h5g.GroupID | Hdf5Field":
        kind = group.links.get_info(link).type
        if kind != h5py.h5l.TYPE_HARD:
            raise Refused(f"{_LINKS.get(kind) or 'a link of another program'}; {_COPY}")
        held = h5py.h5o.open(group, link)
        if isinstance(held, h5py.h5g.GroupID):
            return held
        if not isinstance(held, h5py.h5d.DatasetID):
            raise Refused("a data set or a group, got a type that stands by itself")
        return self._field(held)

    def _field(self, held: h5py.h5d.DatasetID) -> Hdf5Field:
        made = held.get_create_plist()
        layout = made.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            raise Refused(f"a virtual data set, its numbers are in other files; {_COPY}")
        if made.get_external_count():
            raise Refused(f"stored in other files; {_COPY}")
        if held.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Refused("holds nothing, its dataspace is null; write the data")
        filters = [made.get_filter(i) for i in range(made.get_nfilters())]
        for code, _, _, said in filters:
            if not h5py.h5z.filter_avail(code):
                raise Refused(_missing_filter(code, said))
        dataset = h5py.Dataset(held)
        shape = tuple(map(int, dataset.shape))
        offset = held.get_offset() if layout == h5py.h5d.CONTIGUOUS else None
        dtype = as_complex(dataset.dtype)
        readable = dtype.kind in READABLE
        declared = math.prod(shape) * held.get_type().get_size() if readable else 0
        if declared and layout == h5py.h5d.CONTIGUOUS:
            self._require_contiguous(declared, held.get_storage_size(), offset)
        elif declared and layout == h5py.h5d.CHUNKED:
            self._require_chunks(dataset, declared, bool(filters))
        return Hdf5Field(dtype, shape, offset, bool(filters), dataset)

    def _require_contiguous(self, declared: int, stored: int, offset: int | None) -> None:
        if offset is None or stored == 0:
            raise Refused(f"{declared} bytes declared and never written; write the data")
        if stored != declared or offset + declared > self._n_bytes:
            raise Refused(
                f"{declared} bytes declared, {stored} stored from byte {offset} on in a file of "
                f"{self._n_bytes}; the file is damaged, make or copy it again"
            )

    def _require_chunks(self, dataset: h5py.Dataset, declared: int, packed: bool) -> None:
        one = math.prod(dataset.chunks) * dataset.id.get_type().get_size()
        if one > MOST_BYTES:
            raise Refused(
                f"chunks of at most {MOST_BYTES} bytes, got {one}; write it unpacked and in one piece "
                "(h5repack -f NONE -l CONTI)"
            )
        sizes: list[int] = []
        dataset.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
        stored = sum(sizes)
        if stored > self._n_bytes or (not packed and any(size != one for size in sizes)):
            raise Refused(
                f"{stored} bytes in {len(sizes)} chunks in a file of {self._n_bytes}; the file is damaged, "
                "make or copy it again"
            )
        grid = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        # what was not written reads as the fill value, which says so only where it is NaN
        if len(sizes) < grid and not (dataset.dtype.kind in "fc" and np.isnan(dataset.fillvalue)):
            raise Refused(
                f"{grid - len(sizes)} of {grid} chunks were never written, and would be read as "
                f"{dataset.fillvalue}; write them, or shorten the data set"
            )
        if packed and declared > _EXPANSION * stored:
            raise Refused(
                f"{declared} bytes declared, {stored} stored: a packed byte stands for {_EXPANSION} at most; "
                "write it unpacked (h5repack -f NONE)"
            )

    def _attribute_names(self) -> dict[str, str | bytes]:
        """Names as text, and as h5py knows them: what is not UTF-8 may be bytes."""
        return {_raw(name).decode("utf-8", "backslashreplace"): name for name in self._file.attrs}

    def _attribute(self, name: str | bytes) -> Any:
        held = h5py.h5a.open(self._file.id, _raw(name))
        if held.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            raise Refused("holds nothing, its dataspace is null")
        if held.get_type().get_class() not in _SIMPLE:
            raise Refused("a string or numbers, got another HDF5 type")
        if held.get_storage_size() > MOST_ATTRIBUTE_BYTES:
            raise Refused(f"at most {MOST_ATTRIBUTE_BYTES} bytes, got {held.get_storage_size()}")
        return plain(self._file.attrs[name])


def _raw(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def _missing_filter(code: int, said: bytes) -> str:
    own = said.decode("utf-8", "backslashreplace").strip()
    name = _FILTERS.get(code) or own or "of another program"
    return (
        f"packed with the filter {name} ({code}), which HDF5 does not have here; unpack it where it was "
        "written (h5repack -f NONE), or install hdf5plugin and point HDF5_PLUGIN_PATH to its plugins"
    )
