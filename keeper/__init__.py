"""Keeps the margin positions of one wallet away from liquidation by moving collateral between them."""
