"""Bounds on the error of any unbiased estimator, for the exact spherical wave."""
