"""Resumable work of the stages: state, devices, processes, durations."""
