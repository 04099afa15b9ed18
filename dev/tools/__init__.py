"""What writes pages and manual from the code, and what tells of the code: `make` runs it."""
