"""SigMF archives: a tar file of one recording, NAME.sigmf-meta and NAME.sigmf-data, in a folder or in none.

Nothing is unpacked: the samples are read where they lie. Links, devices, sparse files and names that lead
elsewhere are refused, and so are several recordings.

References:
    SigMF specification 1.2, "SigMF Archives".
"""

import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from risolve.files.contents import Contents, Format, Refused
from risolve.files.regular import opened
from risolve.formats.sigmf import MOST_META_BYTES, Dataset, recording

_META, _DATA = ".sigmf-meta", ".sigmf-data"
_MAGIC, _MAGIC_AT = b"ustar", 257
_MOST_FILES = 100


def _begins(file: BinaryIO) -> bool:
    file.seek(_MAGIC_AT)
    return file.read(len(_MAGIC)) == _MAGIC


@contextmanager
def _opened(path: Path, unread: Mapping[str, str], before: Callable[[str], None]) -> Iterator[Contents]:
    """The samples of the recording.

    Raises:
        Refused: no archive of one recording, or damaged.
    """
    with opened(path, sys.maxsize) as file:
        files = _files(file)
        recordings = [name for name in files if name.endswith(_META)]
        if len(recordings) != 1:
            raise Refused(f"an archive of one recording, got {len(recordings)} of the ending {_META}")
        metadata = files[recordings[0]]
        if metadata.size > MOST_META_BYTES:
            raise Refused(f"metadata of at most {MOST_META_BYTES} bytes, got {metadata.size}")
        file.seek(metadata.offset_data)
        stated = file.read(metadata.size)

    def dataset() -> Dataset:
        name = recordings[0].removesuffix(_META) + _DATA
        if name not in files:
            raise Refused(f"the samples are in {_shown(name)}, which is not in the archive")
        return Dataset(_shown(name), path, files[name].offset_data, files[name].size)

    yield recording(lambda: stated, dataset, before)


def _files(file: BinaryIO) -> dict[str, tarfile.TarInfo]:
    """The files of an archive by their names, all of whose bytes are there.

    Raises:
        Refused: as said above.
    """
    n_bytes = file.seek(0, 2)
    file.seek(0)
    files: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for number, member in enumerate(archive, 1):
                _require_plain(member, n_bytes)
                if number > _MOST_FILES or member.name in files:
                    name = _shown(member.name)
                    raise Refused(f"at most {_MOST_FILES} files, each once; got {name} after {number - 1}")
                if member.isreg():
                    files[member.name] = member
    except (tarfile.TarError, ValueError, OverflowError, OSError, MemoryError, RecursionError) as error:
        said = _shown(" ".join(str(error).split())[:160])
        raise Refused(f"no tar archive that is read ({said}); copy it again") from error
    return files


def _require_plain(member: tarfile.TarInfo, n_bytes: int) -> None:
    """Refuse what is no file or folder of its own, a folder in a folder, and bytes that are not there.

    Raises:
        Refused: as said.
    """
    name = _shown(member.name)
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise Refused(f"files and folders, got {name} of type {member.type!r}")
    # `tar -c .` writes ./NAME
    parts = [part for part in member.name.split("/") if part != "."]
    if not {"", ".."}.isdisjoint(parts) or len(parts) > 1 + member.isreg():
        raise Refused(f"names NAME or FOLDER/NAME, got {name}")
    if not 0 <= member.size <= n_bytes - member.offset_data:
        raise Refused(
            f"{name} of {member.size} bytes at byte {member.offset_data} of {n_bytes}; copy it again"
        )


def _shown(text: str) -> str:
    return ascii(text)[1:-1]


FORMAT = Format("a SigMF archive", (".sigmf",), _begins, _opened, None)
