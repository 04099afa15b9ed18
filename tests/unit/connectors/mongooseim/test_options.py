"""What a configuration of this kind may say, and what becomes of it."""

import pytest

from restbroker.config.target import Basic
from restbroker.connectors.mongooseim.options import Options
from tests.unit.connectors.mongooseim.conftest import BASIC, Configured, Made, Problems


def test_its_own_defaults_fit_the_server(made: Made) -> None:
    target = made(RequestTimeout=None)
    # Cowboy closes a connection after 5 s; a domain is no Host that a listener must answer to.
    assert (target.idle_expiry_s, target.host_header, target.default_host) == (4.0, None, "localhost")
    assert target.slots == {"account.registerUser": 2}
    assert target.at_most_once == ("announce_*", "broadcast.startBroadcast")
    assert target.options == Options("admin", "auto")


def test_what_is_written_counts_before_them(made: Made) -> None:
    target = made(
        {"ServerVersion": "6.5.0"}, HostHeader="localhost", IdleExpiry="2s", Slots={"account.*": 1}, AtMostOnce=[]
    )
    assert (target.idle_expiry_s, target.host_header, target.slots) == (2.0, "localhost", {"account.*": 1})
    assert target.at_most_once == ()


@pytest.mark.parametrize(
    ("schema", "user", "told"),
    [
        ("domain_admin", "root@localhost", "Auth: is no domain admin's: the user is admin@ and the domain."),
        ("user", "bot", "Auth: is no user's: the user is a whole JID, such as bot@example.org."),
    ],
)
def test_a_login_of_another_kind_is_refused(problems: Problems, schema: str, user: str, told: str) -> None:
    assert problems({"Schema": schema}, Auth={"Basic": {"User": user, "Pass": "p"}}) == [told]


@pytest.mark.parametrize("schema", ["domain_admin", "user"])
def test_who_is_no_admin_must_log_in(problems: Problems, schema: str) -> None:
    assert problems({"Schema": schema}, Auth=None) == ["Auth: must be Basic: MongooseIM takes no other login."]


def test_a_bearer_token_is_refused(problems: Problems) -> None:
    assert problems(Auth={"Bearer": {"Token": "x"}}) == ["Auth: must be Basic: MongooseIM takes no other login."]


def test_what_is_no_version_is_refused(problems: Problems) -> None:
    assert problems({"ServerVersion": "newest"}) == [
        'Options.ServerVersion: is neither "auto" nor a version such as "6.5.0".'
    ]


def test_an_admin_without_a_login_is_noted(configured: Configured) -> None:
    notes = configured(Auth=None).notes
    assert [note.code for note in notes] == ["NoCredentials"]
    assert not configured().notes


def test_a_domain_admins_domain_is_that_of_his_login(made: Made) -> None:
    login = {"Basic": {"User": "admin@example.org", "Pass": "p"}}
    target = made({"Schema": "domain_admin"}, Auth=login, Domain=None)
    assert target.default_host == "example.org"
    assert isinstance(target.credentials, Basic)


def test_an_unknown_schema_is_refused(problems: Problems) -> None:
    (told,) = problems({"Schema": "root"}, Auth=BASIC)
    assert told.startswith('Options.Schema: expected one of "admin", "domain_admin", "user"')
