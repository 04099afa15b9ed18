"""The parts that a kind of server can leave out, as they are then. The registry takes them from here."""
