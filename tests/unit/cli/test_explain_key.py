"""What `restbroker explain` says of a key of env.json, without a configuration."""

import json

import pytest

from restbroker.cli.explain import ALSO_KEYS
from restbroker.cli.explain_key import names, rows_of
from restbroker.config.core import all_keys
from restbroker.console import codes
from restbroker.kinds import SOURCES, TARGETS
from tests.support.process import run_here


def test_a_key_is_explained_with_all_its_places() -> None:
    (row,) = rows_of("orderby")
    assert row["code"] == "OrderBy"
    assert row["value"].startswith('"order_key" or a list of 1 to 4 names')
    assert row["example"] == '"OrderBy": ["user", "host"]'
    assert row["where"] == "OrderBy at the top, Targets.NAME.OrderBy"
    places = [row["where"] for row in rows_of("Target")]
    assert "Events.Sources.NAME.Target, Events.Sources.NAME.Routes.Target, Tell.Target" in places
    assert "Events.Sources.NAME.Options.Target of openfire-sse" in places
    assert {"Periodic.NAME.Target", "Roster.Target"} <= {*places}


def test_each_key_says_what_it_means_takes_and_when() -> None:
    for name in (name for name in names() if not name.endswith(".Options")):
        rows = rows_of(name)
        assert rows
        for row in rows:
            assert all(row[field] for field in ("meaning", "value", "where", "takes_effect")), row
            if row["example"] is not None:
                assert name in json.loads(f"{{{row['example']}}}")
    assert names() >= {*all_keys()}
    with_example = [name for name in all_keys() if rows_of(name)[0]["example"] is not None]
    assert len(with_example) > len(all_keys()) / 2


@pytest.mark.parametrize(
    ("word", "place"),
    {
        "ejabberd.ApiVersion": "Targets.NAME.Options.ApiVersion of ejabberd",
        "Targets.chat.Queues[1]": "Targets.NAME.Queues",
        "Events.Sources.a.Routes[2].Queue": "Events.Sources.NAME.Routes.Queue",
        "concurreny": "Concurrency at the top",
    }.items(),
)
def test_a_key_is_found_behind_its_kind_its_place_and_by_an_alias(word: str, place: str) -> None:
    assert place in [row["where"].split(", ")[0] for row in rows_of(word)]


def test_a_key_without_effect_says_so() -> None:
    (row,) = rows_of("ProcessID")
    assert row["takes_effect"] == "never"
    assert "Ignored: every process creates its own unique identity." in row["meaning"]


@pytest.mark.parametrize("kind", {*TARGETS, *SOURCES})
def test_the_options_of_each_kind_are_listed(kind: str) -> None:
    rows = rows_of(f"{kind}.Options")
    assert all(row["where"].endswith(f" of {kind}") for row in rows)
    assert len(rows) > 0 or f"{kind}.Options" not in names()


def test_the_codes_that_are_keys_are_known() -> None:
    assert {name.casefold() for name in names()} & {name.casefold() for name in codes.names()} == ALSO_KEYS
    both = run_here(["explain", "Periodic", "--json"])
    assert [row["what"] for row in json.loads(both.stdout)][-1] == "a key of env.json"
    assert len(json.loads(both.stdout)) == 2


def test_a_word_that_is_nearly_a_key_is_a_mistake() -> None:
    done = run_here(["explain", "OrderBv"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean OrderBy?" in done.stderr


@pytest.mark.parametrize("word", [" RestQueue ", '"RestQueue":', "`RestQueue`,", "RESTBROKER_RESTQUEUE", "'restqueue'"])
def test_a_key_is_known_with_what_stands_around_it_or_as_a_variable(word: str) -> None:
    assert run_here(["explain", word]).stdout.startswith("RestQueue: a key of env.json")
