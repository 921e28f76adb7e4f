"""The dress rehearsal: somebody's own positions on a fork of their chain, crashed with the keeper and without."""
