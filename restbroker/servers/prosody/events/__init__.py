"""Prosody's mod_rest: the stanzas that it posts, and what it makes of answers."""
