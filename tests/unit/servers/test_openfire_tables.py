"""What holds of the rows of Openfire's tables. Nothing looks at it when restbroker starts."""

from collections.abc import Mapping

from restbroker.servers.api.table import names_in
from restbroker.servers.openfire.chat.bodies import BODIES
from restbroker.servers.openfire.chat.entry import Entry as ChatEntry
from restbroker.servers.openfire.chat.table import table
from restbroker.servers.openfire.entities import ELEMENTS, ENTITIES, Entity
from restbroker.servers.openfire.forms import PROPERTIES
from restbroker.servers.openfire.rest.table import TABLE as REST
from restbroker.servers.openfire.rest.table import Entry as RestEntry

SOURCE, DOCUMENTED = table("source"), table("documented")
ROWS: list[tuple[RestEntry | ChatEntry, Mapping[str, Entity]]] = [
    *((row, ENTITIES) for row in REST.values()),
    *((row, BODIES) for entries in (SOURCE, DOCUMENTED) for row in entries.values()),
]
"""Each with the entities of its kind."""


def test_a_command_takes_what_its_query_and_its_body_are_made_of() -> None:
    for row, entities in ROWS:
        takes = row.takes
        members = [one.name for one in entities[row.body].members] if row.body else []
        assert row.path.startswith("/"), row.name
        assert {*row.query, *row.defaults, *members} <= takes.by_name.keys(), row.name
        assert takes.same is None or takes.same[1] in names_in(row.path), row.name


def test_what_is_there_or_gone_already_is_asked_only_where_the_method_makes_or_removes() -> None:
    methods = {"creates": "POST", "removes": "DELETE"}
    assert [name for name, row in REST.items() if row.method != methods.get(row.effect, row.method)] == []


def test_a_body_that_is_no_entity_is_an_argument() -> None:
    assert [name for name, row in SOURCE.items() if row.sends and (row.body or row.raw not in row.takes.by_name)] == []


def test_the_forms_of_paths_differ_in_nothing_but_paths_and_who_acts() -> None:
    assert SOURCE.keys() == DOCUMENTED.keys()
    differ = [name for name, row in DOCUMENTED.items() if row is not SOURCE[name]]
    assert differ == ["add_contact", "accept_offer", "reject_offer"]
    for name in differ:
        rows = [{one.name for one in entries[name].takes.rows} for entries in (SOURCE, DOCUMENTED)]
        assert rows[0] == rows[1], name


def test_each_entity_is_a_body_and_each_list_in_it_has_an_element_for_its_entries() -> None:
    assert {row.body for row in REST.values()} - {""} == set(ENTITIES)
    assert {row.body for row in SOURCE.values()} - {""} == set(BODIES)
    lists = {
        member.name
        for entities in (ENTITIES, BODIES)
        for entity in entities.values()
        for member in entity.members
        if entity.root and (member.form.type == "list" or member.form is PROPERTIES)
    }
    assert lists == set(ELEMENTS)
