"""`run --processes N`: a supervisor and its workers, each of them a whole broker."""
