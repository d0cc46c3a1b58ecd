"""What a terminal says of results and files."""
