"""Which documents of a job's own may be sent: one operation, no subscription."""

import graphql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restbroker.servers.api.arguments import InvalidArguments
from restbroker.servers.mongooseim.documents import kind_of


def test_one_operation_is_let_through() -> None:
    rows: list[tuple[str, str]] = [
        ("{checkAuth{authStatus}}", "query"),
        ("query Who @x(a: 1) {checkAuth{authStatus}}", "query"),
        ('# mutation\n,query($a: In = {b: [1, {c: "}"}]}) { a(b: $a) }', "query"),
        ('mutation{account{removeUser(user:"a@b"){jid}}}', "mutation"),
        ("mutation M($a: String!) {a(b: $a) {...F}} fragment F on T { c }", "mutation"),
        ("fragment subscription on T { query } query { ...subscription }", "query"),
        ('{a(b: "subscription { x }", c: """two } " lines\n\\""" {""", d: "\\"}")}', "query"),
        ('query { a(b: """""") }', "query"),
    ]
    assert [(document, kind) for document, kind in rows if kind_of(document) != kind] == []


def test_nothing_else_is() -> None:
    rows: list[tuple[str, str]] = [
        ("", "has no operation"),
        ("fragment F on T { c }", "has no operation"),
        ('subscription { stanza { subscribeForMessages(caller: "a@b") { sender } } }', "is a subscription"),
        ("query { a } subscription { b }", "is a subscription"),
        ("query A { a } mutation B { b }", "has 2 operations"),
        ("query { a", "is not a GraphQL document"),
        ("query { a(b: [1}] ) }", "is not a GraphQL document"),
        ("type T { a: Int }", "is not a GraphQL document"),
        ('query { a(b: """} ) }', 'a string in the argument "query" has no end'),
        ("{a}" + " " * 500_000, "is longer than"),
    ]
    for document, told in rows:
        with pytest.raises(InvalidArguments, match=told):
            kind_of(document)


@given(
    st.lists(
        st.sampled_from(
            ["query", "{", "}", "(", ")", "a", '"', '"""', "\\", "#", "\n", "subscription", ":", "mutation"]
        )
    )
)
def test_what_is_let_through_is_what_a_parser_finds(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        kind = kind_of(text)
    except InvalidArguments:
        return
    try:
        found = graphql.parse(text).definitions
    except graphql.GraphQLError:
        return  # the server says so
    operations_ = [one.operation.value for one in found if isinstance(one, graphql.OperationDefinitionNode)]
    assert operations_ == [kind]


def test_no_text_takes_long() -> None:
    for text in ('"' * 400_000, '"""' + '\\"""' * 100_000, "{" * 400_000, '"\\' * 200_000, "#" * 400_000):
        with pytest.raises(InvalidArguments):
            kind_of(text)
