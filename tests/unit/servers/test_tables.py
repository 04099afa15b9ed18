"""What holds of the rows of each table. Nothing looks at it when restbroker starts."""

from typing import Final, TypeAlias

import pytest

from restbroker.servers.api.table import names_in
from restbroker.servers.openfire.chat.entry import FROM, STREAM
from restbroker.servers.openfire.chat.entry import Entry as ChatEntry
from restbroker.servers.openfire.chat.table import ENTRIES as CHAT
from restbroker.servers.openfire.chat.table import table
from restbroker.servers.openfire.normal import SHAPES
from restbroker.servers.openfire.rest.table import ENTRIES as REST
from restbroker.servers.openfire.rest.table import Entry as RestEntry
from restbroker.servers.prosody.table import ENTRIES as PROSODY
from restbroker.servers.prosody.table import Entry as ProsodyEntry

Row: TypeAlias = ChatEntry | RestEntry | ProsodyEntry
TABLES: Final[dict[str, tuple[Row, ...]]] = {
    "openfire-chat": CHAT,
    "openfire-chat, as its page has it": tuple(table("documented").values()),
    "openfire-rest": REST,
    "prosody-rest": PROSODY,
}
AS_THEY_ARE: Final = {
    *("any", "xml", "yaml", "String"),
    *("AffiliatedEntities", "ClusterNodeEntities", "ClusterNodeEntity", "ClusteringEntity", "MUCServiceEntities"),
    *("RoomCreationResultEntities", "SecurityAuditLogs"),
}
"""Answers that are given as they came, or (`AffiliatedEntities`) by the shape of the list that was asked for."""

of_each_table = pytest.mark.parametrize("rows", TABLES.values(), ids=TABLES)


@of_each_table
def test_no_two_have_one_name(rows: tuple[Row, ...]) -> None:
    names = [row.name for row in rows]
    assert sorted(names) == sorted(set(names))


@of_each_table
def test_what_stands_in_a_path_is_an_argument_that_each_job_gives_and_none_stands_there_twice(
    rows: tuple[Row, ...],
) -> None:
    for row in rows:
        in_path = [FROM if one == STREAM else one for one in names_in(row.path)]
        assert set(in_path) <= set(row.takes.required), row.name
        assert len(in_path) == len(set(in_path)), row.name
        assert row.path.count("{") == row.path.count("}") == len(in_path), row.name


@of_each_table
def test_each_name_of_an_argument_means_one(rows: tuple[Row, ...]) -> None:
    for row in rows:
        names = [name for one in row.takes.rows for name in (one.name, *one.aliases)]
        assert sorted(names) == sorted(set(names)), row.name


def test_each_answer_of_openfire_has_a_shape_or_needs_none() -> None:
    answers = {row.answer for row in CHAT} | {row.answer for row in REST}
    assert answers - {"", *SHAPES} == AS_THEY_ARE


def test_a_member_that_prosodys_requests_always_have_is_no_argument_and_what_asks_is_an_iq_to_somebody() -> None:
    for row in PROSODY:
        assert row.constants.keys().isdisjoint(row.takes.by_name), row.name
        assert row.stanza in ("", "message", "presence", "iq"), row.name
        assert (row.stanza != "") == (row.api == "rest"), row.name
        assert not row.asks or (row.stanza == "iq" and "to" in row.takes.required), row.name
