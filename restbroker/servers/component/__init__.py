"""Sources of events that are a component of a server (XEP-0114): `ejabberd-component` and `prosody-component`."""
