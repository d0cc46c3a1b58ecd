"""Every tolerance of the tests, with the reason for its size; statistics derive theirs in the test."""

DOUBLE = 1e-12
"""Relative: a few hundred roundings of float64 (eps 2.2e-16)."""

SINGLE = 2e-5
"""Relative: sums of some hundred terms in float32 (eps 1.2e-7) and a loaded M x M solution."""

SINGLE_SOLVE = 5e-4
"""Relative: a float32 Cholesky solution with the N x N system loaded by rho = 1e-3, of condition some 1e4."""

TRACE = 1e-5
"""Relative: trace of a normalized covariance against N, and the norm laws sqrt(N) <= ||R||_F <= N."""

SCALE = 2e-6
"""Relative: a normalized quantity under y -> c y, whose product is itself rounded (complex64); a power of two
changes no bit."""

UNIT_MODULUS = 1e-6
"""Absolute: | |c| - 1 | of a complex64 code."""

FINITE_DIFFERENCE = 1e-7
"""Relative: a central difference in float64; step 1e-5 leaves about 1e-10 of truncation and of rounding."""

SIGMAS = 5.0
"""Standard errors that a statistic may stray; a fixed seed makes the outcome the same on every run."""
