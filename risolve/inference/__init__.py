"""What networks and estimators share: the search grid, the sparse covariance fit and the likelihood."""
