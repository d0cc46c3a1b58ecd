"""Formats of files: one module each, with a `FORMAT`."""
