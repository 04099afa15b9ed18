"""What the catalogue says of ejabberd's versions."""

from restbroker.config.target import Target, Url
from restbroker.servers.ejabberd.catalogue import api_of, for_version, too_old
from restbroker.servers.ejabberd.options import Options


def test_the_newest_entry_that_is_not_newer_is_chosen() -> None:
    rows: list[tuple[str | None, str]] = [
        (None, "26.07"),
        ("unknown", "26.07"),
        ("23.01-1", "23.01"),
        ("24.02", "23.01"),
        ("25.03", "24.12"),
        ("27.01", "26.07"),
        ("18.06", "23.01"),
    ]
    assert [(asked, found) for asked, found in rows if for_version(asked).version != found] == []


def test_the_interface_version_is_read_from_the_end_of_a_path() -> None:
    rows: list[tuple[str, int | None]] = [
        ("/api", None),
        ("/api/v2", 2),
        ("register/v0", 0),
        ("register", None),
        ("/v2/api", None),
    ]
    assert [(path, api) for path, api in rows if api_of(path) != api] == []


TOUCHES_THE_SERVER = {
    *("cluster", "mnesia", "modules", "erlang", "db", "sql", "config"),
    *("internal", "documentation", "ejabberdctl", "server"),
}
"""ejabberd's own tags (23.01 to 26.07) of commands that are about the server itself."""
HARMLESS = {
    # Which version, which hosts, and what was said.
    *("status", "registered_vhosts", "echo", "echo3"),
    # A user's own messages.
    *("get_mam_messages", "get_offline_messages"),
}


def test_what_ejabberd_tags_as_about_the_server_or_takes_a_file_of_it_is_dangerous() -> None:
    for version in ("23.01", "24.12", "26.07"):
        catalogue = for_version(version)
        about_it = {name for name, spec in catalogue.commands.items() if spec.tags & TOUCHES_THE_SERVER} - HARMLESS
        assert {name for name in about_it if not catalogue.dangerous_in(name)} == set(), version
        places = ("file", "dir", "in", "out")
        takes = {name for name, spec in catalogue.commands.items() if any(map(spec.argument, places))}
        assert len(takes) > 15, version
        assert {name for name in takes if "files" not in catalogue.dangerous_in(name).get(name, ())} == set(), version


def test_a_server_is_too_old_for_a_configured_interface_version_before_24_02() -> None:
    rows: list[tuple[str | None, int | None, bool]] = [
        ("23.01", 1, True),
        ("23.10-1", 0, True),
        ("24.02", 1, False),
        ("26.07", 3, False),
        (None, 1, False),
        ("23.01", None, False),
    ]
    for version, api, old in rows:
        target = Target("t", "ejabberd", Url("http", "127.0.0.1", 1), ("rest",), options=Options(api_version=api))
        assert (too_old(target, version) is not None) is old
