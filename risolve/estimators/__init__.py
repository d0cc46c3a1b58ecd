"""Estimators of the sources of a scene: one contract, one registry, one suite of tests over all of them."""
