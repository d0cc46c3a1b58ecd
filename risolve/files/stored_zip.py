"""Zip archives whose files are stored as they are: nothing in them is believed before it is compared with the
bytes that are there.
"""

import io
import struct
import zipfile
from typing import BinaryIO

_MOST_DIRECTORY_BYTES = 2_000_000
"""Of the directory: some 20,000 files, 2,000 of them for every 100 layers in training."""

_END = struct.Struct("<4s8xI6x")
"""The last record of a zip archive without a comment, and the bytes of its directory."""

_END_64 = struct.Struct("<4s36xQ8x")
"""What stands before it, with the locator between the two, where those are numbers of 64 bits."""

_LOCATOR_BYTES = 20
_DIRECTORY = 0x10
_ENCRYPTED = 0x1
"""Bits of the attributes and of the flags of a file."""

_LOCAL = struct.Struct("<4s22xHH")
"""What stands before the bytes of a file, with the lengths of its name and of more that stands between."""

_UTF_8 = 0x800


DAMAGED = (zipfile.BadZipFile, NotImplementedError, OSError, EOFError, ValueError)
"""What zipfile raises of bytes that are no archive, are cut short, or are packed as it does not know."""


class ArchiveError(Exception):
    """The archive is damaged, or holds something else than files that are stored as they are."""


def opened_zip(file: BinaryIO) -> zipfile.ZipFile:
    """The archive of an open file, every file in it stored as it is, in a place and under a name of its own.

    Raises:
        ArchiveError: as its law.
    """
    try:
        _require_short_directory(file)
        archive = zipfile.ZipFile(file)
    except DAMAGED as error:
        raise ArchiveError(str(error) or "cut off") from None
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    if not entries:
        raise ArchiveError("an empty archive")
    following = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, end in zip(entries, following, strict=True):
        if (
            entry.compress_type != zipfile.ZIP_STORED
            or entry.external_attr & _DIRECTORY
            or entry.flag_bits & _ENCRYPTED
            or entry.compress_size != entry.file_size
        ):
            raise ArchiveError(
                f"{entry.filename!r}: not a file that is stored as it is ({entry.file_size} bytes, "
                f"{entry.compress_size} in the archive)"
            )
        if entry.header_offset + entry.file_size > end:
            raise ArchiveError(f"{entry.filename!r}: lies over another entry")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ArchiveError("two entries of one name")
    return archive


def first_byte(file: BinaryIO, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of a file of an archive begin, which lie in one piece.

    Raises:
        ArchiveError: they are not where the directory has them, or under another name.
    """
    file.seek(entry.header_offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
        raise ArchiveError(f"{entry.filename!r}: is not where the directory of the archive has it")
    _, n_name, n_more = _LOCAL.unpack(head)
    name = file.read(n_name).decode("utf-8" if entry.flag_bits & _UTF_8 else "cp437", "replace")
    if name != entry.orig_filename:
        raise ArchiveError(f"{entry.filename!r}: has another name, {name!r}, where its bytes are")
    first: int = entry.header_offset + _LOCAL.size + n_name + n_more
    if first + entry.file_size > archive.start_dir:
        raise ArchiveError(f"{entry.filename!r}: lies over another entry")
    return first


def _require_short_directory(file: BinaryIO) -> None:
    """Refuse a directory that would fill the memory; it is looked for where `zipfile` finds it."""
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(max(0, n_bytes - _END.size - _LOCATOR_BYTES - _END_64.size))
    tail = file.read()
    if len(tail) < _END.size:
        raise ArchiveError("cut off")
    signature, size = _END.unpack(tail[-_END.size :])
    if signature != b"PK\5\6":
        raise ArchiveError("no zip archive, or cut off")
    if len(tail) > _END.size + _LOCATOR_BYTES and tail.startswith(b"PK\6\6"):
        size = max(size if size < 2**32 - 1 else 0, _END_64.unpack(tail[: _END_64.size])[1])
    if size > _MOST_DIRECTORY_BYTES:
        raise ArchiveError(
            f"a directory of {_MOST_DIRECTORY_BYTES / 1e6:g} MB at most, got {size / 1e6:.1f} MB"
        )
