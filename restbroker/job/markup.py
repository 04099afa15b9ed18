"""Knows names of XMPP's own notation, so that a secret in a stanza makes none of these a secret.

Called by `job.hiding` for texts that name a secret. Always holds: pure; what is taken out is in the lists here, and
stands where the notation has a name; the time grows with the length alone.
"""

import re
from typing import Final

from restbroker.job.spellings import SHORTEST_ANYWHERE

_TAGS: Final = (
    *("address", "addresses", "affiliation", "affiliations", "command", "conference", "configure", "create", "decline"),
    *("destroy", "feature", "forwarded", "history", "identity", "instructions", "invite", "message", "nickname"),
    *("option", "presence", "priority", "private", "publish", "pubsub", "reason", "register", "remove", "reported"),
    *("required", "retract", "status", "storage", "subject", "subscribe", "subscription", "subscriptions", "thread"),
    *("unsubscribe", "username"),
)
_ATTRIBUTES: Final = ("action", "affiliation", "sessionid", "status", "subscription", "version")
_FIELDS: Final = ("accountjid", "accountjids", "adminjids", "announcement", "given_name", "surname", "welcome")
"""Of forms of XEP-0133."""
# With the blank beside a name, since servers have one beside their words. Names of members stand between NULs.
_NAMES: Final = re.compile(
    rf"(?<=<)/?+(?:{'|'.join(_TAGS)})(?=[\s/>])\s?+(?:(?:{'|'.join(_ATTRIBUTES)})(?==))?"
    rf"|\s(?:{'|'.join(_ATTRIBUTES)})(?==)"
    rf"|(?:(?<=\bvar=[\"'])|(?<=\0))(?:{'|'.join(_FIELDS)})(?=[\"'\0\n]|\Z)"
    r"|(?<=\bxmlns=[\"'])(?:jabber:|http://jabber\.org/protocol/(?:commands(?=[\"']))?+)"
    r"|(?:(?<=\bnode=[\"'])|^)http://jabber\.org/protocol/(?=admin#)",
    re.ASCII | re.MULTILINE,
)
NAMES: Final = (*_TAGS, *_ATTRIBUTES, *_FIELDS, "jabber:", "http://jabber.org/protocol/commands")
_BESIDE: Final = SHORTEST_ANYWHERE - 1


def without_names(text: str) -> str:
    """Return the text without the inner parts of names: any six characters in a row are left, but for those of one."""
    return _NAMES.sub(lambda name: f"{name[0][:_BESIDE]}\n{name[0][-_BESIDE:]}", text)
