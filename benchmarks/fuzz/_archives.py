"""Archives of torch.save whose files are replaced, with the checksums that belong to them."""

import io
import zipfile
from collections.abc import Mapping


def files_of(content: bytes) -> dict[str, bytes]:
    """Contents by name, without the folder."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def archive_of(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in files.items():
            # an entry with a time of its own, the same in every run
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content, compression)
    return held.getvalue()
