"""The source of events `ejabberd-component`: an XMPP component (XEP-0114) that gets a copy of every stanza."""
