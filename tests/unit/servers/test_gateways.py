"""What may be a gateway's answer is no proof that nothing ran, whichever the kind: the one ladder says so."""

from restbroker.job.command import Call, Command
from restbroker.job.outcome import Deferred, Denied, Outcome, Uncertain
from restbroker.job.settle import apply_at_most_once
from restbroker.servers.api.answer import AnswerForm, read
from restbroker.servers.api.ladder import ladder, standard
from restbroker.servers.ejabberd import outcomes as ejabberd
from restbroker.transport.message import Response
from tests.support.rows import rows

RUNGS = standard("the server", check_url="u", check_log="l")
FORM = AnswerForm(lambda _response, text: ("", text))
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><hr><center>nginx/1.22.1</center></body></html>"
FREE = (408, 425, 429, 503, 521, 522, 523, 525, 526)


def judged(status: int, body: bytes = PAGE, **headers: str) -> Outcome:
    return ladder(read(FORM, Response(status, headers, body, 0.0)), RUNGS)


@rows("status", [499, *(status for status in range(501, 600) if status not in FREE)])
def test_every_5xx_may_have_run(status: int) -> None:
    for body in (PAGE, b"", b'{"message":"no"}', b"upstream connect error"):
        outcome = judged(status, body)
        assert isinstance(outcome, Uncertain), body
        assert (outcome.by_gateway, outcome.is_final) == (True, False), body
        assert outcome.reason.message.endswith("It may have run."), body


@rows("status", FREE)
def test_what_means_not_passed_on_is_free_but_at_most_once(status: int) -> None:
    for body, headers in ((PAGE, {}), (b"", {}), (PAGE, {"retry-after": "7"}), (b'{"a":1}', {})):
        outcome = judged(status, body, **headers)
        assert isinstance(outcome, Deferred), body
        assert (outcome.counts, outcome.pause_target, outcome.ran) == (False, True, "unlikely"), body
        assert isinstance(apply_at_most_once(outcome), Uncertain), body


def test_a_500_in_the_apis_own_words_is_marked_and_a_gateways_is_not_believed() -> None:
    for own in (b"", b'{"error":"x"}', b'"internal_error"'):
        outcome = judged(500, own)
        assert isinstance(outcome, Deferred), own
        assert outcome.ran == "maybe", own
    for other in (PAGE, b"Internal Server Error", b"<html>"):
        assert isinstance(judged(500, other), Uncertain), other


@rows(
    ("status", "body", "ran"),
    [
        (500, b'{"status":"error","code":10001,"message":"Database failure"}', "no"),
        (500, b'{"status":"error","code":0,"message":"timeout"}', "no"),
        (500, b'"internal_error"', "maybe"),
        (503, PAGE, "unlikely"),
        # Not ejabberd's: it sends no other 5xx.
        (502, b'{"status":"error","code":10001,"message":"Database failure"}', None),
        (502, b'"internal_error"', None),
        (500, PAGE, None),
    ],
)
def test_only_ejabberds_own_codes_are_a_proof(status: int, body: bytes, ran: str | None) -> None:
    outcome = ejabberd.classify(Call(Command("register", {})), None, Response(status, {}, body, 0.0))
    assert (outcome.ran if isinstance(outcome, Deferred) else None) == ran
    assert isinstance(outcome, Deferred if ran else Uncertain)


@rows(
    ("status", "body", "is_sent_again"),
    [
        (302, b"", False),
        (303, PAGE, False),
        (200, b"<html>Sorry</html>", False),
        (404, PAGE, False),
        (401, b"", True),
    ],
)
def test_a_page_in_place_of_an_answer_is_no_proof(status: int, body: bytes, is_sent_again: bool) -> None:
    """A gateway may dress the 502 of a server that died (nginx: error_page 502 =200); the probe would find it well."""
    outcome = ejabberd.classify(Call(Command("kick_user", {})), None, Response(status, {}, body, 0.0))
    assert isinstance(outcome, Denied)
    assert isinstance(apply_at_most_once(outcome), Denied if is_sent_again else Uncertain)
