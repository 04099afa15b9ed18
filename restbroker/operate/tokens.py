"""Which tokens the jobs that wait carry. Called by `restbroker token list`, and by `operate.act_waiting`.

Always holds: reads page by page and never a whole queue, changes nothing, and shows no secret. While jobs come and go a
few may be counted twice or not at all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Final

from restbroker.broker.tokens import Proof, Tokens
from restbroker.job import arguments, signing
from restbroker.job.arguments import Submission
from restbroker.job.job import fields_of
from restbroker.job.json_types import Json
from restbroker.light import frozen
from restbroker.operate.find import PAGE, pieces
from restbroker.store import paging, queues, sets
from restbroker.store.client import Client
from restbroker.store.keys import SortedSet

_WAITING: Final[tuple[SortedSet, ...]] = ("retry", "schedule")


@frozen
class TokenCounts:
    """How many jobs have which token, by the token's name; None: an unknown token.

    `previous`: jobs with a secret that is being replaced. `skipped`: how many jobs beyond the limit were not read.
    """

    jobs: Counter[str | None]
    previous: Counter[str]
    skipped: int


def count_tokens(client: Client, tokens: Tokens, served: Mapping[str, str], limit: int) -> TokenCounts:
    """Count the tokens of the next `limit` jobs of each queue, of the retry set and of the schedule set.

    `served`: queue → its target. Jobs of the sets count only if they go to one of these queues.

    Raise `StoreUnavailable`.
    """
    jobs: Counter[str | None] = Counter()
    previous: Counter[str] = Counter()
    for queue, fields in _jobs(client, served, limit):
        proof = proof_of(tokens, fields, queue)
        jobs[None if proof is None else proof.token.name] += 1
        if proof is not None and proof.is_previous:
            previous[proof.token.name] += 1
    sizes = [
        *(size or 0 for size in queues.sizes(client, [*served]).values()),
        sets.size(client, "retry"),
        sets.size(client, "schedule"),
    ]
    return TokenCounts(jobs, previous, sum(max(size - limit, 0) for size in sizes))


def proof_of(tokens: Tokens, fields: Mapping[str, Json], queue: str) -> Proof | None:
    """Return which configured token the job in this queue carries; None if it carries none."""
    submission = arguments.read(fields.get("args"))
    read = submission if isinstance(submission, Submission) else None
    given = arguments.token_and_reply_id(fields.get("args"))[0] if read is None else read.token
    jid = fields.get("jid")
    return tokens.proof(given, jid if isinstance(jid, str) else "", read, signing.accepted_queue(fields) or queue)


def _jobs(client: Client, served: Mapping[str, str], limit: int) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield each job with its queue. What is no job is left out: it would die with any token."""
    for queue, target in served.items():
        for raw in islice(chain.from_iterable(pieces(client, queue, target)), limit):
            if (fields := fields_of(raw)) is not None:
                yield queue, fields
    for kind in _WAITING:
        members = chain.from_iterable(part.members for part in paging.pieces(client, kind, PAGE))
        for raw, _ in islice(members, limit):
            fields = fields_of(raw)
            named = None if fields is None else fields.get("queue")
            if fields is not None and isinstance(named, str) and named in served:
                yield named, fields
