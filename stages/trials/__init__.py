"""The trials of a search: the study, its tables and figures."""
