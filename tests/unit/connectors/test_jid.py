"""Which texts are JIDs for servers."""

import pytest

from restbroker.connectors.jid import is_jid


@pytest.mark.parametrize(
    "text",
    [
        "juliet@example.org",
        "Juliet@Example.ORG/balcony",
        "example.org",
        "example.org/resource with blanks",
        "a@localhost/b/c@d",
        "юлия@пример.рф",
        "a@[::1]",
        "a@127.0.0.1",
        "a.b+c=d!e@_xmpp.example.org.",
        "אב@example.org",
        "a@example.org/📱",
    ],
)
def test_these_are(text: str) -> None:
    assert is_jid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@@",
        "a@",
        "@example.org",
        "a@b@c",
        "a b@example.org",
        "a@example org",
        "a@example..org",
        "a@.",
        "a@example.org/",
        "a@example.org/\n",
        "a\x00@example.org",
        "a:b@example.org",
        "a\u00a0b@example.org",
        "\u00ad@example.org",
        "א1@example.org",
        "a@א.example",
        "a@\ufffd.org",
        "a" * 1024 + "@example.org",
        "a@" + "é" * 70 + ".org",
        "a@example.org/" + "é" * 512,
    ],
)
def test_these_are_not(text: str) -> None:
    assert not is_jid(text)
