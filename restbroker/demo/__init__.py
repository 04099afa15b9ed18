"""Shows restbroker at work with nothing installed: an embedded Redis, a stand-in for a server, a real broker."""
