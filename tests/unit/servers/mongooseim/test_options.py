"""What a configuration of this kind may say, and what becomes of it."""

from restbroker.config.target import Basic
from restbroker.servers.mongooseim.options import Options
from tests.unit.servers.conftest import Configured, Made, Problems


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


def test_a_login_of_another_kind_or_none_where_one_is_needed_is_refused(problems: Problems) -> None:
    def told(schema: str, auth: object) -> list[str]:
        return problems({"Schema": schema}, Auth=auth)

    assert told("domain_admin", {"Basic": {"User": "root@localhost", "Pass": "p"}}) == [
        "Auth: is no domain admin's: the user is admin@ and the domain."
    ]
    assert told("user", {"Basic": {"User": "bot", "Pass": "p"}}) == [
        "Auth: is no user's: the user is a whole JID, such as bot@example.org."
    ]
    for schema, auth in (("domain_admin", None), ("user", None), ("admin", {"Bearer": {"Token": "x"}})):
        assert told(schema, auth) == ["Auth: must be Basic: MongooseIM takes no other login."]


def test_an_admin_without_a_login_is_noted(configured: Configured) -> None:
    notes = configured(Auth=None).notes
    assert [note.code for note in notes] == ["NoCredentials"]
    assert not configured().notes


def test_a_domain_admins_domain_is_that_of_his_login(made: Made) -> None:
    login = {"Basic": {"User": "admin@example.org", "Pass": "p"}}
    target = made({"Schema": "domain_admin"}, Auth=login, Domain=None)
    assert target.default_host == "example.org"
    assert isinstance(target.credentials, Basic)
