"""What the keeper decides, as pure functions on values; nothing in here awaits or does I/O."""
