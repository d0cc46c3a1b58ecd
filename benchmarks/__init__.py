"""Side-by-side runs against reference figures; each writes a table to benchmarks/results."""
