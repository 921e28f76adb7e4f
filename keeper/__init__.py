"""Keeps the margin positions of one wallet away from liquidation by moving collateral between them."""

from importlib.metadata import version as _version

__all__ = ["__version__"]

__version__ = _version("margin-keeper")
