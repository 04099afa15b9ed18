"""What the connectors of several servers share: functions that each composes as it needs them."""
