"""What Chatter 2.1 answered, and what becomes of the job."""

import attrs
import pytest

from restbroker.config.secret import Secret
from restbroker.config.target import Bearer, Target, Url
from restbroker.job.command import Call, Command
from restbroker.job.outcome import Delivered, Denied, Outcome, Rejected
from restbroker.servers.contract import Ports
from restbroker.transport.message import Request, Response
from restbroker_chatter import open_connector

TARGET = Target("chat", "chatter", Url("http", "127.0.0.1", 8200), ("chat",), Bearer(Secret("a-token")))
EXISTS = Response(409, {}, b'{"error": {"code": "exists", "message": "There is one."}}', 0.1)
ANN = {"user": "ann", "password": "pw"}


@attrs.define
class Recorded:
    """A link that answers each request with what was recorded."""

    answer: Response
    sent: list[Request] = attrs.field(factory=list)

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        return self.answer

    ask = send

    async def task(self) -> None:
        pass


def outcome(call: Call, link: Recorded) -> Outcome:
    """Deliver without Trio: what awaits anything but the link fails."""
    run = open_connector(TARGET, Ports(lambda _: None, lambda: 0.0)).deliver(call, link)
    with pytest.raises(StopIteration) as end:
        run.send(None)
    assert isinstance(end.value.value, Outcome)
    return end.value.value


def test_a_user_who_exists_is_refused_unless_the_job_may_have_created_them() -> None:
    create = Command("create_user", ANN)
    assert isinstance(outcome(Call(create), Recorded(EXISTS)), Rejected)
    assert isinstance(outcome(Call(create, maybe_run=True), Recorded(EXISTS)), Delivered)


def test_a_name_stays_one_segment_of_the_path() -> None:
    link = Recorded(Response(204, {}, b"", 0.1))
    outcome(Call(Command("delete_user", {"user": "../a b"})), link)
    assert [request.path for request in link.sent] == ["/v1/users/..%2Fa%20b"]


def test_the_404_of_a_proxy_kills_no_job() -> None:
    proxy = Recorded(Response(404, {}, b"<html>Not Found</html>", 0.1))
    assert isinstance(outcome(Call(Command("get_user", {"user": "ann"})), proxy), Denied)
