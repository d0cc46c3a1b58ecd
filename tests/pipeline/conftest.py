"""The finished run that the tests here share."""

from tests.pipeline.finished import finished, own

__all__ = ["finished", "own"]
