"""Which hosts a command is about, as far as it can be known: nothing is guessed."""

from restbroker.job.command import ArgumentSpec, CommandSpec, HostSource
from restbroker.job.hosts import HostsUnclear, hosts_of, plain
from restbroker.job.json_types import Json
from tests.support.rows import rows

LISTS_ITS_OWN = CommandSpec("c", (ArgumentSpec("host", "string", host_source="host"),), "safe")
FILLS_HOST = CommandSpec("c", (), "safe", fills_host=True)
FILLS_BOTH = CommandSpec("c", (), "safe", fills_host=True, fills_user=True)


def about(place: HostSource, value: Json) -> frozenset[str] | HostsUnclear:
    """The hosts of a command whose one argument has this place."""
    found = hosts_of(CommandSpec("c", (ArgumentSpec("at", "any", host_source=place),), "safe"), {"at": value}, None)
    return found if isinstance(found, HostsUnclear) else frozenset(found)


def test_default_host_is_filled_in_only_where_none_is_named() -> None:
    filled = CommandSpec("get_roster", (), "safe", fills_host=True)
    assert hosts_of(filled, {}, "default.org") == {"default.org": "default.org"}
    assert hosts_of(filled, {"host": "a.org"}, "default.org") == {"a.org": "a.org"}
    aliased = CommandSpec("users", (ArgumentSpec("vhost", "string", aliases=("host",), host_source="host"),), "safe")
    assert hosts_of(aliased, {}, "default.org") == {"default.org": "default.org"}
    assert hosts_of(aliased, {"vhost": "a.org"}, "default.org") == {"a.org": "a.org"}
    assert hosts_of(aliased, {"host": "a.org"}, "default.org") == {"a.org": "a.org"}


def test_a_default_host_is_compared_in_plain_form_too() -> None:
    assert hosts_of(FILLS_HOST, {}, "Default.ORG") == {"default.org": "Default.ORG"}


@rows(("spec", "name"), [
    (LISTS_ITS_OWN, "user"), (FILLS_HOST, "user"), (FILLS_BOTH, "users"), (FILLS_BOTH, "User"), (FILLS_BOTH, "jid"),
])  # fmt: skip
def test_argument_neither_listed_nor_filled_in_is_unknown(spec: CommandSpec, name: str) -> None:
    for value in ("admin", "admin@a.org"):
        found = hosts_of(spec, {"host": "a.org", name: value}, None)
        assert found == HostsUnclear(f"the catalogue does not know its argument {name!r}")


def test_a_host_that_is_neither_listed_nor_filled_in_names_none() -> None:
    no_host = CommandSpec("c", (ArgumentSpec("user", "string", host_source="name"),), "safe", fills_user=True)
    assert hosts_of(no_host, {"host": "a.org"}, None) == HostsUnclear("the catalogue does not know its argument 'host'")
    assert isinstance(hosts_of(no_host, {"user": "bob"}, "default.org"), HostsUnclear), "nothing takes the default"


def test_a_user_that_is_filled_in_may_name_another_host() -> None:
    assert hosts_of(FILLS_BOTH, {"host": "a.org", "user": "bob"}, None) == {"a.org": "a.org"}
    assert hosts_of(FILLS_BOTH, {"host": "a.org", "user": "bob@b.org"}, None) == {"a.org": "a.org", "b.org": "b.org"}


def test_command_reaching_other_hosts_is_not_bound_by_its_own() -> None:
    beyond = CommandSpec("c", LISTS_ITS_OWN.arguments, "safe", beyond=True)
    assert isinstance(hosts_of(beyond, {"host": "a.org"}, None), HostsUnclear)


@rows("between", [":", ",", ";", "|", "\\", "\\n", " ", "\t", "\n", "\u00a0", ", "])
def test_each_of_several_names_in_a_text_counts(between: str) -> None:
    text = f"a@a.org/x{between}b@b.org"
    assert about("name", text) == about("jids", text) == frozenset({"a.org", "b.org"})


@rows("value", [
    "", "\u00ad", "a@", "a@\u00ad", "/x", "\uff20", "b.org\uff0f.a.org", "b.org\uff20a.org", "x\uff0fy@a.org", "a@b@c",
    "a.org/announce/all-hosts", "a.org/all-hosts", "a.org/\n", "a.org/\u00e4", "\u00ad@a.org/all-hosts", 5, None,
    ["b@a.org"], {"host": "a.org"},
])  # fmt: skip
def test_odd_jid_is_unclear(value: Json) -> None:
    assert isinstance(about("jid", value), HostsUnclear)


@rows("value", ["", "\u00ad", 5, None, ["a.org"], {"host": "a.org"}])
def test_invalid_host_name_is_unclear(value: Json) -> None:
    assert isinstance(about("host", value), HostsUnclear)
    assert isinstance(about("jids", [{"host": value}, "b@a.org"]), HostsUnclear)


@rows(("one", "other"), [
    ("A.org", "a.org"), ("Stra\u00dfe.de", "STRASSE.de"), ("\u00c4.de", "a\u0308.de"), ("\uff41.org", "a.org"),
])  # fmt: skip
def test_names_that_a_server_takes_for_one_are_one(one: str, other: str) -> None:
    assert plain(one) == plain(other)
