"""Everything that is read or written: parameters, HDF5 files, checkpoints, resumable state, progress."""
