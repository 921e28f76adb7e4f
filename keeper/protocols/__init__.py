"""What a protocol's bytes mean: which calls to make and how to read the answers; as pure as core."""
