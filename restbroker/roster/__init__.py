"""Serves rosters from Redis to Prosody, which asks for one user's at a time."""
