"""Damaged inputs by the hundred thousand: what every reader of files makes of them."""
