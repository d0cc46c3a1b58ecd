"""Archives of torch.save whose files are replaced, with the checksums that belong to them."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path


def files_of(path: Path) -> dict[str, bytes]:
    """Contents by name, without the folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write_files(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """An archive of these files."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    path.write_bytes(held.getvalue())
