"""A keeper on a real chain whose nodes misbehave, whose blocks go away, whose process is killed; all of it by seed."""
