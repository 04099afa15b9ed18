"""The tokens that jobs may carry, kept in memory and read again when their files change.

Admission calls `proof` for a job's third argument; `restbroker token list` does so for waiting jobs. Each pool's
heartbeat carries `digests`, with which `check` compares the tokens of all processes: where they differ, jobs die at
random. Always holds: each look-up compares with every secret, also behind one that fits; a secret that was removed from
its file is accepted for a second more at most; no secret is in a `repr`, and who reads a digest learns no more of a
secret than whether a guess is right.
"""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final, TypeAlias

import attrs
import orjson

from restbroker.config.secret import Secret, digest_of
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.errors import ConfigError
from restbroker.job import hiding, signing
from restbroker.job.arguments import Submission
from restbroker.job.auth import reaches
from restbroker.job.json_types import Json
from restbroker.job.signing import Signature
from restbroker.light import define, field, frozen
from restbroker.telemetry.events import OperatorWarning, Report

_LOOK_S: Final = 1.0
"""Seconds between two looks at the files while tokens fit.

Also between two reads, while a token does not fit or a file is unusable.
"""

_REPLACED: Final = 10
"""How many replaced secrets are kept out of messages too."""

_Look: TypeAlias = tuple[tuple[int, ...] | None, ...]


@frozen
class Proof:
    """The proof that a job may use a token: the token, the secret that fits, and the signature if it has one.

    `is_previous`: the secret is not the token's current one, but the one that a rotation replaces.
    """

    token: Token
    secret: str = field(repr=False)
    is_previous: bool
    signature: Signature | None = None


def _drop(_event: object) -> None:
    pass


@define(eq=False)
class Tokens:
    """The configured tokens with their secrets; never empty.

    A file that cannot be read later, or is empty, leaves its last good value in force, with a warning. `used` is when a
    job was last admitted with each token: {its name: epoch seconds}. `now_s` returns seconds that never jump.
    """

    tokens: Sequence[Token]
    report: Report = _drop
    now_s: Callable[[], float] = monotonic
    used: dict[str, float] = field(factory=dict)
    _secrets: tuple[Proof, ...] = field(default=(), repr=False)
    values: tuple[str, ...] = field(default=(), repr=False)
    """The texts to keep out of every message: the current secrets and those that were replaced last."""
    _proofs: tuple[tuple[bytes, Proof], ...] = field(default=(), repr=False)
    """Each secret in UTF-8, and what it proves."""
    _published: dict[tuple[str, str], Json] = field(factory=dict, repr=False)
    _digests: dict[str, list[str]] = field(factory=dict, repr=False)
    _unusable: set[Path] = field(factory=set)
    _look: _Look | None = None
    _looked_at_s: float = -inf
    _read_at_s: float = -inf

    def __attrs_post_init__(self) -> None:
        """Read every secret once; raise `ConfigError` if a file cannot be read or is empty."""
        self._look = self._look_now()
        self._know(tuple(attrs.evolve(blank, secret=secret.reveal()) for secret, blank in self._known_secrets()))

    def proof(self, given: Json, jid: str = "", submission: Submission | None = None, queue: str = "") -> Proof | None:
        """Return the token that `given` fits, and the secret or signature that proves it; None if it fits no token.

        `given` is a job's third argument: a secret, or a signature that fits `jid`, `submission` and `queue`.
        """
        found = self.of_secret(given)
        if found is not None:
            return found
        signature = signing.read(given)
        signed = None
        if signature is not None and submission is not None and jid:
            signed = signing.content(signature, jid, submission, queue)
        found = self._signer(signature, signed)
        if found is not None or not self._refresh(misfit=True):
            return found
        return self.of_secret(given) or self._signer(signature, signed)

    def of_secret(self, given: Json) -> Proof | None:
        """Return the token whose secret `given` is; None if it is none. An empty one never matches.

        Compare with all secrets in constant time, so that the time tells nothing.
        """
        if self.now_s() - self._looked_at_s >= _LOOK_S:
            self._refresh(misfit=False)
        if not isinstance(given, str) or not given:
            return None
        offered, found = given.encode("utf-8"), None
        for secret, proof in self._proofs:
            if hmac.compare_digest(offered, secret) and found is None:
                found = proof
        return found

    def digests(self, targets: Collection[Target]) -> dict[str, Json]:
        """Return what a heartbeat says of the tokens of these targets' queues: queue → [digest of the grants, secrets].

        The secrets are {name: [`digest_of` the current one, of the previous one if there is one]}.
        """
        if self.now_s() - self._looked_at_s >= _LOOK_S:
            self._refresh(misfit=False)
        found: dict[str, Json] = {}
        for target in targets:
            for queue in target.queues:
                place = (target.name, queue)
                if place not in self._published:
                    self._published[place] = self._published_at(*place)
                found[queue] = self._published[place]
        return found

    def _published_at(self, target: str, queue: str) -> Json:
        valid = [token for token in self.tokens if reaches(token, target, (queue,))]
        of_grants = hashlib.sha256(orjson.dumps(sorted(map(_grants, valid)))).hexdigest()[:16]
        return [of_grants, {token.name: [*self._digests[token.name]] for token in valid}]

    def reread(self) -> None:
        """Have every file read at the next use, even if it looks unchanged."""
        self._look, self._looked_at_s = None, -inf

    def hide(self, text: str, limit: int) -> str:
        """Return the text without secrets, cut to `limit` characters."""
        return hiding.text(text, self.values, limit)

    def _know(self, proofs: tuple[Proof, ...]) -> None:
        self._secrets = proofs
        known = tuple(proof.secret for proof in proofs)
        self._published.clear()
        self._digests = {}
        for proof in proofs:
            self._digests.setdefault(proof.token.name, []).append(digest_of(proof.secret))
        # What was replaced stays hidden: jobs that came with it may not be settled, and told of, yet.
        self.values = (*known, *(value for value in self.values if value not in known))[: len(known) + _REPLACED]
        self._proofs = tuple((proof.secret.encode(), proof) for proof in proofs)

    def _signer(self, signature: Signature | None, signed: bytes | None) -> Proof | None:
        if signature is None or signed is None:
            return None
        named = [known for known in self._secrets if known.token.name == signature.token]
        others = [known for known in self._secrets if known.token.name != signature.token]
        # What waits must outlive a new name of its token. The name is signed as well: no one gains a right by it.
        for proofs in (named, others):
            place = signing.matching_secret(signature, [known.secret for known in proofs], signed)
            if place is not None:
                return attrs.evolve(proofs[place], signature=signature)
        return None

    def _refresh(self, *, misfit: bool) -> bool:
        """Look at the files, and read them if one changed; tell whether there are other secrets now.

        `misfit`: a token did not fit, so that they are read even if unchanged, but once a second at most. A flood of
        bad tokens thus costs little more than looks at the files.
        """
        look, now_s = self._look_now(), self.now_s()
        # Without files there is nothing to look at.
        self._looked_at_s = now_s if look else inf
        again = (misfit or bool(self._unusable)) and now_s - self._read_at_s >= _LOOK_S
        if not look or (look == self._look and not again):
            return False
        self._look, self._read_at_s = look, now_s
        before = self._secrets
        self._know(
            tuple(
                attrs.evolve(old, secret=self._read_secret(secret, old.secret))
                for (secret, _), old in zip(self._known_secrets(), before, strict=True)
            )
        )
        return self._secrets != before

    def _read_secret(self, secret: Secret, last: str) -> str:
        """Return the secret in the file; `last` if it is in no file, or the file is unusable, which is reported once.

        Each file counts for itself: an unusable one must not keep another's old secret valid.
        """
        if secret.path is None:
            return last
        try:
            text = secret.reveal()
        except ConfigError as error:
            if secret.path not in self._unusable:
                self._unusable.add(secret.path)
                self.report(
                    OperatorWarning("SecretFileUnusable", f"{error.message} Its last value stays valid.", error.hint)
                )
            return last
        self._unusable.discard(secret.path)
        return text

    def _known_secrets(self) -> Iterator[tuple[Secret, Proof]]:
        for token in self.tokens:
            for number, secret in enumerate(token.secrets):
                yield secret, Proof(token, "", is_previous=number > 0)

    def _look_now(self) -> _Look:
        paths = [secret.path for token in self.tokens for secret in token.secrets if secret.path is not None]
        return tuple(_stat_of(path) for path in paths)


def _stat_of(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    # The time of the last change also tells of new rights, and of a file that brought its old date along.
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _grants(token: Token) -> list[str]:
    rules = [*(f"allow {pattern}" for pattern in token.allow), *(f"host {host}" for host in token.hosts)]
    return [token.name, f"{token.signed} {token.window_s}", *sorted(rules)]


def unlike(mine: Mapping[str, Json], snapshot: Mapping[str, Json]) -> list[str]:
    """Return the queues of `mine` (`Tokens.digests`) that the pool of this snapshot serves with other tokens.

    While one process has a secret as the current one and another as the previous one, as in a rotation, they are alike.
    """
    theirs = snapshot.get("tokens")
    found = theirs if isinstance(theirs, dict) else {}
    return [queue for queue in mine if queue in found and _is_unlike(mine[queue], found[queue])]


def _is_unlike(mine: Json, other: Json) -> bool:
    match mine, other:
        case [str() as grants, dict() as secrets], [str() as their_grants, dict() as their_secrets]:
            return grants != their_grants or any(
                not _is_same(own, their_secrets.get(name)) for name, own in secrets.items()
            )
        case _:
            return False


def _is_same(own: Json, their: Json) -> bool:
    match own, their:
        case [current, *previous], [their_current, *their_previous]:
            return current in (their_current, *their_previous) or their_current in previous
        case _:
            return False
