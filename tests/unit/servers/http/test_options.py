"""What the options of a target of kind `http` are read as, and what is said of those that cannot be used."""

import json
from pathlib import Path
from typing import Any

from restbroker.config.core import all_keys
from restbroker.config.mask import mask
from restbroker.job.command import CommandSpec
from restbroker.job.json_types import Json
from restbroker.servers import registry
from restbroker.servers.http.catalogue import Settings, settings_of
from tests.unit.servers.conftest import Configured, Made, Problems, refused

SECRET = "whsec_" + "QUJD" * 10
CANARY = "c4n4ry-s3cr3t"


def spec(made: Made, **keys: Any) -> CommandSpec:
    return settings_of(made({"Commands": {"do": keys}})).catalogue.commands["do"]


def test_the_commands_of_the_configuration_are_the_catalogue_and_there_are_no_others(made: Made) -> None:
    target = made({"Commands": {"add": {"Path": "users/{user}", "Query": {"q": "{mode}"}, "Body": {"n": "{n?}"}}}})
    catalogue = registry.catalogue_of(target, None)
    assert (catalogue.is_whole, catalogue.version, list(catalogue.commands)) == (True, "hook", ["add"])
    assert [argument.name for argument in catalogue.commands["add"].arguments] == ["user", "mode", "n"]
    assert registry.catalogue("http").commands == {}


def test_what_may_be_sent_twice_and_what_takes_any_argument(made: Made) -> None:
    rows: list[tuple[dict[str, Any], str, bool]] = [
        ({}, "unsafe", True),
        ({"Method": "PATCH"}, "unsafe", True),
        ({"Idempotent": True}, "safe", True),
        ({"Body": {"a": "{a}"}}, "unsafe", False),
        ({"Method": "PUT"}, "safe", True),
        ({"Method": "DELETE"}, "safe", False),
        ({"Method": "GET"}, "safe", False),
        ({"Encoding": "none"}, "unsafe", False),
        ({"Encoding": "form"}, "unsafe", True),
    ]
    for keys, repeat, takes_more in rows:
        found = spec(made, **keys)
        assert (found.repeat, found.takes_more) == (repeat, takes_more), (keys, repeat)


def test_a_token_that_is_bound_to_hosts_may_ask_for_nothing(made: Made) -> None:
    rows: list[dict[str, Any]] = [{}, {"host": "a.example"}, {"user": "joe@b.example"}]
    for arguments in rows:
        target = made({"Commands": {"do": {"Path": "{host}/{user}"}}}, Domain="a.example")
        catalogue = registry.catalogue_of(target, None)
        found = refused(catalogue, "do", arguments, target.default_host, hosts=("a.example",))
        assert found is not None, arguments
        assert (found.code, found.hint) == ("HostNotAllowed", "Push with a token without Hosts."), arguments
        assert refused(catalogue, "do", arguments, target.default_host) is None, arguments


def test_a_secret_header_that_others_can_read_on_its_way_is_noted(configured: Configured) -> None:
    rows: list[tuple[str, dict[str, Any], bool]] = [
        ("http://api.example.org", {"X-Api-Key": "k"}, True),
        ("http://api.example.org", {"Accept": {"Env": "E"}}, True),
        ("http://api.example.org", {"Accept": "a/b"}, False),
        ("https://api.example.org", {"X-Api-Key": "k"}, False),
        ("http://127.0.0.1", {"X-Api-Key": "k"}, False),
    ]
    for url, headers, noted in rows:
        for options in ({"Commands": {"a": {}}, "Headers": headers}, {"Commands": {"a": {"Headers": headers}}}):
            codes = [note.code for note in configured(options, {"E": "x"}, URL=url).notes]
            assert codes == ["PlainLogin"] * noted, (url, headers)


def test_what_cannot_be_used_is_told_with_its_place(problems: Problems) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"Commands": {"a": {"Path": "x/{b"}}}, 'Commands.a.Path: has a "{" that belongs to no {name}; write "{{" for'),
        ({"Commands": {"a": {"Query": {"\ud800": ""}}}}, "Commands.a.Query.?: expected a name without blanks and"),
        ({"Commands": {"a": {"Body": [{"x": "{y z}"}]}}}, 'Commands.a.Body: has a "{" that belongs to no {name}'),
        ({"Commands": {"a": {"Method": "GET", "Body": {}}}}, "Commands.a.Body: is given, but GET has no body; set Enc"),
        ({"Commands": {"a": {"Encoding": "form", "Body": []}}}, "Commands.a.Body: must be an object where Encoding"),
    ]
    for options, problem in rows:
        (found,) = problems(options)
        assert found.startswith(problem), options


def test_secrets_come_from_files_variables_and_texts_and_are_shown_nowhere(
    configured: Configured, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{CANARY}-1\n")
    options = {
        "Commands": {"a": {"Headers": {"X-Three": f"{CANARY}-3"}}},
        "Headers": {"X-One": {"File": "key"}, "X-Two": {"Env": "TWO"}},
        "SigningSecrets": [SECRET, {"Env": "SIGN"}],
    }
    loaded = configured(options, {"TWO": f"{CANARY}-2", "SIGN": SECRET + "QUJD"})
    settings = loaded.config.targets[0].options
    assert isinstance(settings, Settings)
    assert [settings.headers[name].reveal() for name in ("x-one", "x-two")] == [f"{CANARY}-1", f"{CANARY}-2"]
    assert settings.recipes["a"].headers["x-three"].reveal() == f"{CANARY}-3"
    assert [one.reveal() for one in settings.signing] == [SECRET, SECRET + "QUJD"]
    assert CANARY not in repr(loaded)
    assert SECRET not in repr(loaded)
    written = json.loads((tmp_path / "env.json").read_text())["Targets"]
    shown = json.dumps(mask(all_keys()["Targets"], written, registry.kinds()))
    assert CANARY not in shown
    assert SECRET not in shown
    assert '{"File": "key"}' in shown
    assert '{"Env": "SIGN"}' in shown


def test_a_wrong_secret_is_not_quoted(problems: Problems) -> None:
    for wrong in (5, [CANARY], {"x": CANARY}, f"{CANARY}\n"):
        for options in ({"Headers": {"X": wrong}}, {"SigningSecrets": [wrong]}):
            assert CANARY not in "".join(problems({"Commands": {"a": {}}, **options})), wrong


def test_only_public_addresses_are_connected_to_unless_options_say(configured: Configured) -> None:
    assert configured({"Commands": {"a": {}}}).config.targets[0].public_only
    assert not configured({"Commands": {"a": {}}, "AllowPrivate": True}).config.targets[0].public_only


def test_a_text_in_a_query_whose_name_says_that_it_is_a_secret_is_not_shown() -> None:
    query: Json = {"api_key": CANARY, "user": "{user}"}
    written: Json = {"one": {"Options": {"Commands": {"a": {"Query": query}}}}}
    shown = json.dumps(mask(all_keys()["Targets"], written, registry.kinds()))
    assert CANARY not in shown
    assert "{user}" in shown
