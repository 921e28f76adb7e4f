"""Euler v2."""
