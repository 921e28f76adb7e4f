"""Venus: accounts in its isolated pools."""
