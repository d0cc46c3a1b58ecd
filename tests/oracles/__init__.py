"""Slow, obvious transcriptions of the formulas, one loop per index, in NumPy: what the fast versions must
equal.
"""
