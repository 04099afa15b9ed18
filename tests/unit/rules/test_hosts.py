"""Which hosts a command is about where the host is filled in."""

from restbroker.rules.command import ArgumentSpec, CommandSpec
from restbroker.rules.hosts import named


def test_a_default_host_fills_in_only_where_the_job_names_none_by_whichever_name() -> None:
    filled = CommandSpec("get_roster", (), "safe", fills_host=True)
    assert named(filled, {}, "default.org") == frozenset({"default.org"})
    assert named(filled, {"host": "a.org"}, "default.org") == frozenset({"a.org"})
    aliased = CommandSpec("users", (ArgumentSpec("vhost", "string", aliases=("host",), place="host"),), "safe")
    assert named(aliased, {}, "default.org") == frozenset({"default.org"})
    assert named(aliased, {"vhost": "a.org"}, "default.org") == frozenset({"a.org"})
    assert named(aliased, {"host": "a.org"}, "default.org") == frozenset({"a.org"})
