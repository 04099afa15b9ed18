"""Chatter: its users, and messages to them, through its HTTP API."""

CONTRACT_VERSION = 1
