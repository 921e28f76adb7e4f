"""Aave v3, of the two versions in versions.py."""
