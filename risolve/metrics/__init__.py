"""Scores of estimates against the truth: assignment, errors and GOSPA, errors over their bounds."""
