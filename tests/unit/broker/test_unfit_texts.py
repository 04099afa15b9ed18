"""No connector of an XMPP server gets a command with a text that XML cannot hold: admission refuses it."""

import json
import sys
from types import ModuleType
from typing import Any, Final, cast

import pytest

from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.xml_text import fits_xml
from restbroker.kinds import TARGETS
from restbroker.servers import registry
from restbroker.servers.contract import Ports
from restbroker.servers.packages import Package
from restbroker.transport.message import NotSent
from tests.golden.cases import KINDS
from tests.golden.fates import target_of
from tests.golden.memory import SERVICES, Memory, Way
from tests.unit.broker.test_kept_decisions import SECRETS, admits, job, verdict

NOT_XMPP: Final = {"http"}
UNFIT: Final = ("\x1b[31mred", "a\x00", "\x0b", "\x1f", "\ufffe", "a\uffff")


def nested(text: str, number: int) -> Json:
    forms: list[Json] = [text, [text], {"a": text}, {text: 1}, [1, {"a": ["b", {"c": text}]}]]
    return forms[number % len(forms)]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_no_command_of_an_xmpp_server_has_an_unfit_text(name: str) -> None:
    """Its users' clients would end their connections (measured on ejabberd 23.01 and MongooseIM 6.8.0)."""
    ports = Ports(lambda _: None, lambda: 1.0, Way(Memory(NotSent("nobody is asked"), {})), SERVICES)
    connector = registry.open_connector(target_of(KINDS[name]), ports)
    admission, seen = admits(connector=cast("Any", connector)), 0
    admission.plan.is_xmpp = registry.is_xmpp(name)
    # Behind one that was let in, a job of its command is let in another way.
    for spec in [*connector.catalogue.commands.values()] * 2:
        for argument in spec.arguments:
            seen += 1
            text = UNFIT[seen % len(UNFIT)]
            raw = job([spec.name, {argument.name: nested(text, seen)}, SECRETS["dared"]])
            written = raw if seen % 2 else json.dumps(json.loads(raw), ensure_ascii=False).encode()
            code, words, *_ = verdict(admission, written)
            if name in NOT_XMPP:
                assert isinstance(code, Command)
                continue
            assert (code, text in str(words)) == ("BadArgument", False), (spec.name, argument.name)
            assert f'the argument "{argument.name}" has a control character' in str(words)
        fit = job([spec.name, {"a": "tab\t, two\r\nlines \\ \u20ac \ufffd"}, SECRETS["dared"]])
        assert isinstance(verdict(admission, fit)[0], Command)
    assert seen


def test_an_unfit_name_of_an_argument_is_not_repeated() -> None:
    code, words, *_ = verdict(admits(), job(["register", {"a\x1b": 1}, SECRETS["all"]]))
    assert (code, "the name of an argument has" in str(words)) == ("BadArgument", True)


def test_a_text_that_xml_cannot_hold_is_found_wherever_it_is() -> None:
    rows: list[tuple[Json, bool]] = [
        ("Good night\n\t", True),
        ("a\x00b", False),
        ("\ud800", False),
        (["a", {"b": "\x1f"}], False),
        ({"a\x0b": 1}, False),
        ([1, None, True, {"a": ["b"]}], True),
    ]
    assert [(value, fits) for value, fits in rows if fits_xml(value) is not fits] == []


def test_a_package_is_of_an_xmpp_server_unless_it_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, is_xmpp in (({}, True), ({"XMPP": False}, False)):
        module = ModuleType("a_kind")
        vars(module).update(said)
        monkeypatch.setitem(sys.modules, "a_kind", module)
        assert Package("a", "1", "a_kind").is_xmpp is is_xmpp
