"""Answers Prosody, which asks for the roster of one user at a time."""
