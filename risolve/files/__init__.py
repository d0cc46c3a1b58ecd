"""Files: what is read and written, one reader a format, and nothing hidden in between."""
