"""How a command runs: its start and end, progress, processes, locks, and what names its work."""
