"""For which target a command is pushed, where there are several, and what is noted about its arguments."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import pytest

from restbroker.cli.enqueue_one import fit_arguments
from restbroker.config.target import Target, Url
from restbroker.console.arguments import TypedArguments
from restbroker.errors import UsageError
from restbroker.job.command import ArgumentSpec
from restbroker.job.json_types import Json
from restbroker.kinds import TARGETS
from restbroker.operate.request import Signatures, signatures_of, target_of
from restbroker.servers import registry
from restbroker.servers.ejabberd.options import Options

HERE = Url("http", "127.0.0.1", 1)


def target(name: str, queue: str, version: str = "26.07") -> Target:
    return Target(name, "ejabberd", HERE, (queue,), options=Options(server_version=version))


OLD, NEW, FLAT = target("old", "q-old", "23.01"), target("new", "q-new"), target("ejabberd", "q-flat", "23.01")
AUTO = target("any", "q-any", "auto")
PROSODY = Target("chat", "prosody-rest", HERE, ("q-chat",))
MIM = Target("mim", "mongooseim", HERE, ("m",))
CONTACT = {"localuser": "a", "localhost": "h", "user": "b", "host": "h", "nick": "n", "subs": "both"}


def fit(
    known: Signatures, given: Mapping[str, Json], default_host: str | None = None, *, any_command: bool = False
) -> Mapping[str, Json]:
    """Return the arguments as the command takes them."""
    typed = TypedArguments(dict(given), frozenset())
    return fit_arguments(known, typed, default_host, any_command=any_command)[1]


def known(place: Target, version: str | None, command: str) -> Signatures:
    return signatures_of(place, version, command, any_command=False)


def test_target_is_the_named_the_queues_the_only_or_the_flat_one() -> None:
    rows: list[tuple[Sequence[Target], str | None, str | None, str, str]] = [
        ([OLD], None, None, "nothing_known", "old"),
        ([OLD, NEW], "new", None, "register", "new"),
        ([OLD, NEW], "new", "q-old", "register", "new"),
        ([OLD, NEW], None, "q-old", "register", "old"),
        ([OLD, NEW], None, None, "kick_users", "new"),
        ([OLD, NEW], None, None, "kick_users/v3", "new"),
        ([NEW, FLAT], None, None, "register", "ejabberd"),
        ([NEW, FLAT], None, None, "nothing_known", "ejabberd"),
        ([NEW, FLAT], None, "another", "register", "ejabberd"),
        ([OLD, MIM], None, None, "account.registerUser", "mim"),
        ([OLD, MIM], None, None, "account/registerUser", "mim"),
    ]
    for targets, name, queue, command, expected in rows:
        assert target_of(targets, name, queue, command).name == expected


def test_unclear_target_names_the_candidates() -> None:
    for command in ("register", "nothing_known"):
        with pytest.raises(UsageError, match="--target: old, new"):
            target_of([OLD, NEW], None, None, command)


def test_a_queue_that_no_target_serves_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="No target serves the queue 'q-odl'") as refused:
        target_of([OLD, NEW], None, "q-odl", "register")
    assert refused.value.hint == "Did you mean q-old?"


def test_missing_argument_required_by_a_catalogue_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[tuple[str, str, dict[str, str], str]] = [
        ("openfire-rest", "create_user", {"username": "a"}, "password"),
        ("openfire-chat", "post_message", {"from": "a", "body": "x"}, "to"),
        ("openfire-chat", "list_users", {}, ""),
        ("mongooseim", "account.registerUser", {"domain": "a"}, "password"),
        ("mongooseim", "account.countUsers", {"host": "a"}, ""),
        ("prosody-rest", "message", {"body": "x"}, "to"),
        ("prosody-roster", "add_contact", {"user": "a"}, "jid"),
    ]
    for kind, command, words, missing in rows:
        taken = known(Target("one", kind, HERE, ("q",)), "6.8.0", command)
        with (
            pytest.raises(UsageError, match=f"{command} also needs {missing}.*")
            if missing
            else nullcontext() as refused
        ):
            fit(taken, words)
        assert refused is None or "--any" in str(refused.value)
        fit(taken, words, any_command=True)
        assert capsys.readouterr().err == (f"note: {command} also needs {missing}.\n" if missing else "")


def test_arguments_are_of_the_configured_or_running_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows: list[tuple[Target, str | None, dict[str, str], dict[str, object]]] = [
        (AUTO, "23.01", {"group": "a"}, {"group": "a"}),
        (AUTO, "24.12", {"groups": "a,b"}, {"groups": ["a", "b"]}),
        (NEW, "23.01", {"groups": "a,b"}, {"groups": ["a", "b"]}),
        (OLD, None, {"group": "a"}, {"group": "a"}),
        (AUTO, "26.07", {}, {}),
    ]
    for place, found, given, expected in rows:
        signatures = known(place, found, "add_rosteritem")
        assert fit(signatures, {**CONTACT, **given}) == {**CONTACT, **expected}
        assert capsys.readouterr().err == ""


def test_unknown_version_accepts_what_any_version_takes() -> None:
    for given, expected in (({"group": "a"}, {"group": "a"}), ({"groups": "a,b"}, {"groups": ["a", "b"]})):
        for version in (None, "nobody knows", "24.06"):
            assert fit(known(AUTO, version, "add_rosteritem"), {**CONTACT, **given}) == {**CONTACT, **expected}
    assert fit(known(AUTO, None, "kick_users"), {"host": "h"}) == {"host": "h"}
    with pytest.raises(UsageError, match="has no command kick_users") as refused:
        known(AUTO, "23.01", "kick_users")
    assert refused.value.hint == "ejabberd 26.07 has it; this one is 23.01."


def test_an_address_that_is_a_bare_name_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    for to, noted in (("john", True), ("john@h", False), ("a.org", False), ("localhost", False), ("intern", False)):
        fit(known(PROSODY, None, "message"), {"to": to, "body": "x"}, "intern")
        note = "note: to has no @ and no dot: servers take it for a domain. An account's address is NAME@intern.\n"
        assert capsys.readouterr().err == (note if noted else ""), to


NEW_PASSWORDS = [
    ("ejabberd", "register", "password"),
    ("ejabberd", "change_password", "newpass"),
    ("mongooseim", "account.registerUser", "password"),
    ("mongooseim", "account.changeUserPassword", "newPassword"),
    ("mongooseim", "domain.setDomainPassword", "password"),
    ("openfire-chat", "create_user", "password"),
    ("openfire-chat", "update_user", "password"),
    ("openfire-rest", "create_user", "password"),
    ("openfire-rest", "update_user", "password"),
    ("prosody-rest", "register", "password"),
    ("prosody-rest", "change_password", "newpass"),
]


def test_only_an_empty_password_for_an_account_is_refused() -> None:
    for kind in TARGETS:
        for command, spec in registry.catalogue(kind, None).commands.items():
            for secret in (arg.name for arg in spec.arguments if arg.secret):
                given = {arg.name: _filling(arg) for arg in spec.arguments if not arg.optional} | {secret: ""}
                taken = Signatures(kind, command, "", (spec,))
                if (kind, command, secret) in NEW_PASSWORDS:
                    with pytest.raises(UsageError, match=f"{secret} is empty"):
                        fit(taken, given)
                else:
                    assert fit(taken, given)[secret] == "", (kind, command)


def test_an_account_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="user is empty"):
        fit(known(NEW, None, "register"), {"user": "", "host": "example.org", "password": "s3cret"})


def _filling(argument: ArgumentSpec) -> Json:
    return 1 if argument.type == "integer" else [] if argument.type == "list" else "a"


def test_a_command_that_the_server_lacks_is_refused() -> None:
    """With the version that has it, or the name that is meant."""
    for version in (None, "13.0.1", "trunk nightly build 1"):
        assert known(PROSODY, version, "disable_user").spec is not None
    with pytest.raises(UsageError, match="has no command disable_user") as refused:
        known(PROSODY, "0.12.3", "disable_user")
    assert refused.value.hint == "It needs Prosody 13; this one is 0.12.3."
    spec = known(MIM, None, "account/registerUser").spec
    assert spec is not None
    assert spec.name == "account.registerUser"
    with pytest.raises(UsageError, match=r"'account\.registerUsr'; did you mean account\.registerUser"):
        known(MIM, None, "account/registerUsr")


def test_argument_every_version_refuses_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        fit(known(AUTO, None, "add_rosteritem"), {**CONTACT, "groop": "a"})
    assert refused.value.message == "add_rosteritem has no argument 'groop'; did you mean groups?"
    assert "This is how ejabberd 26.07 takes it." in str(refused.value)
    assert "--any queues it as it is" in str(refused.value)
