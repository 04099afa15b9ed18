"""What holds of the rows of Openfire's tables. Nothing looks at it when restbroker starts."""

from restbroker.servers.api.table import names_in
from restbroker.servers.openfire.entities import ELEMENTS, ENTITIES
from restbroker.servers.openfire.forms import PROPERTIES
from restbroker.servers.openfire.rest.table import TABLE


def test_a_command_takes_what_its_path_its_query_and_its_body_are_made_of() -> None:
    for name, entry in TABLE.items():
        takes, body = entry.takes, ENTITIES[entry.body].members if entry.body else ()
        assert entry.path.startswith("/"), name
        assert set(names_in(entry.path)) <= set(takes.needed), name
        assert {*entry.query, *entry.defaults, *(row.name for row in body)} <= takes.by_name.keys(), name
        assert takes.same is None or takes.same[1] in names_in(entry.path), name


def test_each_name_of_an_argument_means_one() -> None:
    for name, entry in TABLE.items():
        names = [one for row in entry.takes.rows for one in (row.name, *row.aliases)]
        assert len(names) == len(set(names)), name


def test_what_is_there_or_gone_already_is_only_asked_where_the_method_makes_or_removes() -> None:
    methods = {"creates": "POST", "removes": "DELETE"}
    odd = [name for name, entry in TABLE.items() if entry.method != methods.get(entry.effect, entry.method)]
    assert odd == []


def test_each_entity_is_some_command_s_body_and_each_list_in_it_has_an_element_for_its_entries() -> None:
    assert {entry.body for entry in TABLE.values()} - {""} == set(ENTITIES)
    lists = {
        row.name
        for entity in ENTITIES.values()
        for row in entity.members
        if row.form.type == "list" or row.form is PROPERTIES
    }
    assert lists == set(ELEMENTS)
