# Only what is used here; the package's own annotations leave every keyword argument unknown.
