"""The verbs of dvc.yaml: files in, files out."""

import risolve  # noqa: F401  what it asks of OpenMP and of bytecode holds for a stage too
