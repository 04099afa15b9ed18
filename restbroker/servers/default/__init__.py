"""The parts that a kind of server can leave out, as they then are. The registry takes them from here."""
