"""Weakens the guard one line at a time and asks its tests whether they notice.

Everything happens in copies under a temporary folder; the work tree is only read.
"""
