"""What the options of a target of kind `prosody-rest` are read as, and what is said of those that cannot be used."""

from restbroker.config.core import all_keys
from restbroker.config.mask import mask
from restbroker.config.tokens import Token
from restbroker.job.auth import AccessRequest, refusal
from restbroker.job.command import Command
from restbroker.job.json_types import Json
from restbroker.servers import registry
from restbroker.servers.api.ad_hoc import COMMANDS as ACCOUNTS
from tests.unit.servers.conftest import Configured, Made

ADMIN = "http://127.0.0.1:5280/admin_api/"
MSG = "http://127.0.0.1:5280/msg"
CANARY = "c4n4ry-s3cr3t"


def test_a_target_has_the_commands_of_the_modules_that_it_names(made: Made) -> None:
    alone = registry.catalogue_of(made(), None)
    whole = registry.catalogue_of(made({"AdminURL": ADMIN, "AdminToken": "t", "MsgURL": MSG}), None)
    stanzas = ["message", "presence", "iq", "stanza", "iq_get", "ping", "version", "disco", "items"]
    assert list(alone.commands) == [*stanzas, *(one.name for one in ACCOUNTS)]
    assert (alone.version, alone.is_whole) == ("chat", True)
    assert set(whole.commands) == set(registry.catalogue("prosody-rest").commands) > set(alone.commands)


def test_the_admin_token_is_a_secret_and_shown_nowhere(configured: Configured) -> None:
    loaded = configured({"AdminURL": ADMIN, "AdminToken": CANARY})
    (target,) = loaded.config.targets
    assert [secret.reveal() for secret in target.secrets] == [CANARY]
    assert CANARY not in repr(target) + repr(loaded)
    written: Json = {"chat": {"Kind": "prosody-rest", "Options": {"AdminToken": CANARY}}}
    assert CANARY not in repr(mask(all_keys()["Targets"], written, registry.kinds()))


def test_a_token_that_is_bound_to_hosts_reaches_only_addresses_of_theirs(configured: Configured) -> None:
    rows: list[tuple[str, dict[str, Json], bool]] = [
        ("message", {"to": "a@example.org", "body": "x"}, True),
        ("message", {"to": "a@elsewhere.org", "body": "x"}, False),
        ("message", {"to": "a@example.org", "from": "b@elsewhere.org"}, False),
        ("iq", {"to": "a@example.org", "ping": True}, False),
        ("iq_get", {"to": "a@example.org", "disco": True}, True),
        ("ping", {"to": "example.org"}, True),
        ("announcement", {"body": "x", "recipients": "all"}, True),
        ("announcement", {"body": "x", "recipients": ["a@elsewhere.org"]}, False),
        ("delete_user", {"username": "romeo"}, True),
        ("delete_user", {"username": "romeo", "host": "elsewhere.org"}, False),
    ]
    for command, arguments, is_allowed in rows:
        target = configured({"AdminURL": ADMIN, "AdminToken": "t"}).config.targets[0]
        catalogue = registry.catalogue_of(target, None)
        wish = AccessRequest(
            Command(command, arguments), catalogue.commands[command], {}, target.default_host, "t", "q"
        )
        token = Token("bound", (), allow=("*",), hosts=("example.org",))
        assert (refusal(token, wish) is None) == is_allowed, (command, arguments)
