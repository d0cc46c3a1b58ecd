"""What the package brings: a scene to try, and the network of the default system."""

from pathlib import Path

NETWORK = Path(__file__).with_name("network.pt")
"""What `calibrate` writes in the default run."""


def example() -> Path:
    """A file of measurements to try: three sources before a surface of 12 x 12 elements, with their truth.

    A scene of `test_independent` of the default run: 16 antennas, 16 coded snapshots, 10 dB.
    """
    return Path(__file__).with_name("example.h5")
