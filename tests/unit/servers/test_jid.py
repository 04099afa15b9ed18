"""Which texts are JIDs for servers."""

from restbroker.servers.api.jid import is_jid


def test_these_are() -> None:
    good = (
        *("juliet@example.org", "Juliet@Example.ORG/balcony", "example.org", "example.org/resource with blanks"),
        *("a@localhost/b/c@d", "юлия@пример.рф", "a@[::1]", "a@127.0.0.1", "a.b+c=d!e@_xmpp.example.org."),
        *("אב@example.org", "a@example.org/📱"),
    )
    assert [text for text in good if not is_jid(text)] == []


def test_these_are_not() -> None:
    bad = (
        *("", "@", "@@", "a@", "@example.org", "a@b@c", "a b@example.org", "a@example org", "a@example..org", "a@."),
        *("a@example.org/", "a@example.org/\n", "a\x00@example.org", "a:b@example.org", "a\u00a0b@example.org"),
        *("\u00ad@example.org", "א1@example.org", "a@א.example", "a@\ufffd.org", "a" * 1024 + "@example.org"),
        *("a@" + "é" * 70 + ".org", "a@example.org/" + "é" * 512),
    )
    assert [text for text in bad if is_jid(text)] == []
