"""rlp ships no types; what of it is named."""
