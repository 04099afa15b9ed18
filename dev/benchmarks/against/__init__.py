"""Two commits beside each other, row by row: `make bench ARGS="--against COMMIT"`."""
