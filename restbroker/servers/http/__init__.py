"""Any HTTP API: the configuration says which request is sent for each command."""

XMPP = False
