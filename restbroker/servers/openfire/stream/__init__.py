"""Reads the streams of events that Openfire's Chat API has for each user (server-sent events)."""
