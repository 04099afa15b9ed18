"""Matrix's Synapse: its users, through its administration API."""

CONTRACT_VERSION = 1
