"""Answers Prosody, which requests the roster of one user at a time."""
