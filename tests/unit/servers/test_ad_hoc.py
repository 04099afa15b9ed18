"""Administration of accounts by ad-hoc commands, whatever sends them."""

from restbroker.config.tokens import Token
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.job.reason import Reason
from restbroker.servers.api.ad_hoc import ADMIN, dangerous_in
from restbroker.servers.prosody.catalogue import for_version

SHUTDOWN = f"{ADMIN}#shutdown"


def test_a_node_of_administration_is_found_in_json_and_in_xml_however_it_is_written() -> None:
    stanzas: list[dict[str, Json]] = [
        {"command": {"node": SHUTDOWN}},
        {"command": SHUTDOWN},
        {"command": {"node": SHUTDOWN, "sessionid": "x", "data": {}}},
        {"xml": f"<iq><command node='{SHUTDOWN}'/></iq>"},
        {"xml": "<iq><command node='http&#58;//jabber.org/protocol/admin&#x23;shut&#100;own'/></iq>"},
    ]
    for arguments in stanzas:
        assert dangerous_in({"to": "a.org", **arguments}) == {"admin-shutdown": {"server"}}, arguments
    load = "http://prosody.im/protocol/modules#load"
    assert dangerous_in({"to": "a.org", "command": {"node": load}}) == {"modules-load": {"code"}}
    assert dangerous_in({"to": "a.org", "command": {"node": "weather"}, "version": {}}) == {}


def refused(allow: tuple[str, ...], node: str) -> Reason | None:
    return refused_command(allow, Command("iq", {"to": "a.org", "command": {"node": node}}))


def refused_command(allow: tuple[str, ...], command: Command) -> Reason | None:
    wish = AccessRequest(command, for_version(None).commands[command.endpoint], {}, "a.org", "main", "low")
    return refusal(Token("app", (), allow=allow), wish)


def test_an_iq_that_is_an_administrators_command_needs_to_be_allowed_as_dangerous() -> None:
    for allow in (("*",), ("iq",), ("*", "dangerous:code"), ("dangerous:admin-add-user", "iq")):
        reason = refused(allow, SHUTDOWN)
        assert reason is not None, allow
        assert reason.code == "DangerousCommand", allow
        assert '"dangerous:admin-shutdown"' in (reason.hint or ""), allow
    for allow in (("*", "dangerous:*"), ("iq", "dangerous:server"), ("iq", "dangerous:admin-shutdown")):
        assert refused(allow, SHUTDOWN) is None, allow
    load = "http://prosody.im/protocol/modules#load"
    assert refused(("*", "dangerous:server"), load) is not None
    assert refused(("*", "dangerous:code"), load) is None
    assert refused(("*",), "weather") is None


def test_an_administrators_command_as_xml_needs_to_be_allowed_as_dangerous_too() -> None:
    inner = f"<command xmlns='http://jabber.org/protocol/commands' node='{SHUTDOWN}'/>"
    stanzas = (
        Command("stanza", {"xml": f"<iq type='set' to='a.org'>{inner}</iq>"}),
        Command("iq", {"to": "a.org", "xml": f"<iq type='set'>{inner}</iq>"}),
    )
    for command in stanzas:
        reason = refused_command(("*",), command)
        assert reason is not None, command
        assert reason.code == "DangerousCommand", command
        assert refused_command(("*", "dangerous:server"), command) is None, command
