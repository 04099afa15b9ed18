"""What writes pages, manual and ready-made help from the code, and what tells of the code: `make` runs it."""
