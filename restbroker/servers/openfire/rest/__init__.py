"""Openfire through its REST API plugin."""
