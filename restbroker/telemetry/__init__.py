"""What happened, as events, and the sinks that tell it. Rooms report; only sinks write."""
