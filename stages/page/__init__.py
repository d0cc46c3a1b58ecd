"""The report page: what it is drawn from, its tables, figures and layout."""
