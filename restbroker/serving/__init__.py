"""Serves HTTP on behalf of the rooms above: one runner, one way to make an app."""
