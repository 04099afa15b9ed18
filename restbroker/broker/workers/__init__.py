"""`run --processes N`: a supervisor and the workers of this machine, each of them a whole broker."""
