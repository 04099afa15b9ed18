"""Shows restbroker at work with nothing installed: an embedded Redis, a stand-in ejabberd, a real broker."""
