"""What keeps jobs moving beside the lanes: due ones, those of dead processes, and targets that are closed."""
