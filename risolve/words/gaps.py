"""What scenes of a file lack, in words."""

from collections.abc import Mapping

from risolve.files.gaps import Gap
from risolve.files.measurement_laws import Sizes


def gap_words(gaps: Mapping[int, Gap], sizes: Sizes) -> str:
    """How many snapshots and antennas are left out of how many scenes."""
    said = []
    for name, size in (("snapshots", sizes.snapshots), ("antennas", sizes.antennas)):
        lost = {scene: len(getattr(gap, name)) for scene, gap in gaps.items() if getattr(gap, name)}
        if lost:
            low, high = min(lost.values()), max(lost.values())
            numbers = f"{low} to {high}" if low < high else f"{low}"
            said.append(f"{numbers} of {size} {name} in {len(lost)} scenes, the first {min(lost)}")
    law = "snapshots: numbers that are not finite are left out with their snapshot or antenna"
    return f"{law}: {'; '.join(said)}"
