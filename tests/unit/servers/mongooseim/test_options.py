"""What a configuration of this kind may say, and what becomes of it."""

from restbroker.config.target import Basic
from tests.unit.servers.conftest import Made, Problems


def test_a_login_of_another_kind_or_none_where_one_is_needed_is_refused(problems: Problems) -> None:
    def told(schema: str, auth: object) -> list[str]:
        return problems({"Schema": schema}, Auth=auth)

    assert told("domain_admin", {"Basic": {"User": "root@localhost", "Pass": "p"}}) == [
        "Auth: is not a domain admin's: that user is admin@ and the domain."
    ]
    assert told("user", {"Basic": {"User": "bot", "Pass": "p"}}) == [
        "Auth: is not a user's: the user is a whole JID, such as bot@example.org."
    ]
    for schema, auth in (("domain_admin", None), ("user", None), ("admin", {"Bearer": {"Token": "x"}})):
        assert told(schema, auth) == ["Auth: must be Basic: MongooseIM accepts no other login."]


def test_a_domain_admins_domain_is_that_of_his_login(made: Made) -> None:
    login = {"Basic": {"User": "admin@example.org", "Pass": "p"}}
    target = made({"Schema": "domain_admin"}, Auth=login, Domain=None)
    assert target.default_host == "example.org"
    assert isinstance(target.credentials, Basic)
