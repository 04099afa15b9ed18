"""Openfire, with its REST API plugin (`rest`), its Chat API (`chat`) and that one's streams of events (`stream`)."""
