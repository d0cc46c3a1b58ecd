"""Bounds on the error of estimators, for the exact spherical wave."""
