"""Admits a job: its payload and arguments have the right form, and its token is known and allows its command.

The worker calls `read` and `admit` before anything else is done for a job. Always holds: only a producer that knows
the token is answered; no token is shown, no matter where a producer put it. The facts that are the same for all jobs of
one endpoint are kept: to look them up took a fifth of each job's time. A `CallFacts` is made again when its connector
has another command under that name, as when it learns the server's version; memory is bounded, though producers can
invent endpoints.

What a command, a queue and a token let in by themselves is kept, too: not of signed jobs, of tokens that are bound to
hosts, or of commands whose arguments decide. The secret, the form and the expiry of a job are looked at each time, and
a reload begins with an admission that has kept nothing.
"""

import time
from collections.abc import Mapping
from fnmatch import fnmatchcase

import attrs

from restbroker.broker import acceptance
from restbroker.broker.gates import Slot, Slots
from restbroker.broker.health import StoreHealth
from restbroker.broker.identity import Identity
from restbroker.broker.job_in_progress import JobInProgress
from restbroker.broker.target_plan import TargetPlan
from restbroker.broker.tokens import Proof
from restbroker.config.target import Target
from restbroker.config.tokens import Token
from restbroker.job import active_job, arguments, auth, claims, expiry, hiding, redact
from restbroker.job.claims import JobClaims
from restbroker.job.command import Command, CommandSpec
from restbroker.job.job import Job, NotAJob, oversized_job, read, spare_jid
from restbroker.job.outcome import Reason
from restbroker.light import define, field, frozen_plain
from restbroker.servers.contract import Connector
from restbroker.telemetry.events import OperatorWarning

_KNOWN_LIMIT = 500
_WARN_AGAIN_S = 3600.0
"""A producer that goes on asking in vain is warned of each hour."""


@define(eq=False)
class CallFacts:
    """The facts about one endpoint of a target.

    `spec`: its command in the catalogue, None if it is in none. `slot`: None if no slot limits its deliveries.
    `timeout_s`: how many seconds a request may take.
    """

    endpoint: str
    spec: CommandSpec | None
    at_most_once: bool
    slot: Slot | None
    timeout_s: float
    expire_s: float | None
    """How many seconds after its creation a job expires that does not say when; None: it does not."""
    _target: str
    _default_host: str | None
    _dangerous: Mapping[str, frozenset[str]]
    _refusals: dict[str, Reason | None] = field(factory=dict)

    def refusal(self, token: Token, command: Command, queue: str) -> Reason | None:
        """Return why the token does not allow `command`, whose endpoint this is, from `queue`; None if it does."""
        if token.name not in self._refusals:
            self._refusals[token.name] = auth.command_refusal(token, self.endpoint, self.spec, self._dangerous)
        refused = auth.place_refusal(token, self._target, queue) or self._refusals[token.name]
        return refused or auth.argument_refusal(token, command, self.spec, self._default_host)


@define(eq=False)
class Endpoints:
    """The endpoints that jobs of one pool named so far."""

    _target: Target
    _connector: Connector
    _slots: Slots
    _known: dict[str, CallFacts] = field(factory=dict)

    def get(self, endpoint: str) -> CallFacts:
        """Return the facts about this endpoint, for the version of the server that its connector knows now."""
        spec = self._connector.spec(endpoint)
        known = self._known.get(endpoint)
        if known is None or known.spec is not spec:
            if len(self._known) >= _KNOWN_LIMIT:
                self._known.clear()
            known = self._known[endpoint] = self._find_out(endpoint, spec)
        return known

    def _find_out(self, endpoint: str, spec: CommandSpec | None) -> CallFacts:
        # Without what an endpoint says beside the command (ejabberd's `register/v1`).
        catalogue, target = self._connector.catalogue, self._target
        name = catalogue.name_in(endpoint)
        longer_s = spec.timeout_s if spec is not None and spec.timeout_s is not None else 0.0
        return CallFacts(
            endpoint,
            spec,
            at_most_once=any(fnmatchcase(name, glob) for glob in target.at_most_once),
            slot=self._slots.find(name),
            timeout_s=max(longer_s, target.timeout_s),
            expire_s=target.expire_of_s(name),
            target=target.name,
            default_host=target.default_host,
            dangerous=catalogue.dangerous_in(endpoint),
        )


_RULED = frozenset((claims.KEY_FIELD, claims.LOCK_FIELD, active_job.WRAPPED))
"""Fields with which a job is checked whole."""
_MOST_ARGS = 4
_REPLY_IDS = frozenset((str, int, float))


@frozen_plain
class AdmittedJob:
    """A job that was admitted, its command, and the endpoint of that.

    If the job is signed, the fields of `payload` record that its signature was accepted.
    """

    payload: Job
    command: Command
    endpoint: CallFacts


@define(eq=False)
class Admission:
    """The admission of one pool."""

    plan: TargetPlan
    identity: Identity
    endpoints: Endpoints
    health: StoreHealth
    _kept: dict[tuple[str, str, str], CallFacts] = field(factory=dict)
    """By command, as jobs name it, queue and name of a token: nothing but these decides whether that lets them in."""

    def read(self, job: JobInProgress, started_at_s: float | None) -> Job | NotAJob:
        """Parse the bytes of `job`, and return the payload, which `job.payload` keeps, or `NotAJob` if they hold none.

        `started_at_s` (epoch seconds) is when a worker took the job; None if no worker has it.
        """
        payload = None
        if job.size_bytes:
            entry: Job | NotAJob = oversized_job(job.size_bytes, job.queue, spare_jid(self.identity.name, job.ticket))
        else:
            entry = read(job.raw, job.queue, "", int(job.forgotten))
            if not entry.jid:
                entry = attrs.evolve(entry, jid=spare_jid(self.identity.name, job.ticket))
            payload = entry if isinstance(entry, Job) else None
        job.identify(payload, started_at_s)
        return entry

    def admit(self, job: JobInProgress, payload: Job) -> AdmittedJob | Reason:
        """Check token, arguments and expiry of a job; return what it asks for, or the reason why it is refused.

        `job` gets its command, its reply id, the proof of its token and, if it is signed, its fingerprint, as far as
        the checks came. No secret is in a reason.
        """
        admitted = self._admit_by_kept(job, payload)
        if admitted is None:
            checked = self._check(job, payload)
            if isinstance(checked, Reason):
                return checked.hide_secrets(hiding.make_hide(self.plan.tokens.values), hiding.EXCERPT_LIMIT)
            admitted = checked
        if not payload.is_plain or job.reply_id is not None:
            for found in self.plan.unmet(payload, job.reply_id, job.expires_at_s):
                warning = OperatorWarning(
                    found.code, f"A job of the target {self.plan.target.name} {found.what}.", found.hint
                )
                self.identity.report_once(f"{found.code} {found.hint}", warning, again_s=_WARN_AGAIN_S)
        return admitted

    def _admit_by_kept(self, job: JobInProgress, payload: Job) -> AdmittedJob | None:
        """Admit a job of the usual form whose command, queue and token were let in before.

        Return None if all of it has to be checked; `job` is unchanged then.
        """
        fields, tokens = payload.fields, self.plan.tokens
        args = fields.get("args")
        if type(args) is not list or not 3 <= len(args) <= _MOST_ARGS:
            return None
        name, arguments, is_plain = args[0], args[1], payload.is_plain
        reply_id = args[3] if len(args) == _MOST_ARGS else None
        if type(name) is not str or type(arguments) is not dict or not (is_plain or _RULED.isdisjoint(fields)):
            return None
        if reply_id is not None and (type(reply_id) not in _REPLY_IDS or reply_id == ""):
            return None
        proof = tokens.of_secret(args[2])
        endpoint = None if proof is None else self._kept.get((name, job.queue, proof.token.name))
        if proof is None or endpoint is None or endpoint.spec is not self.plan.connector.spec(name):
            return None
        expires_at_s = None if is_plain and endpoint.expire_s is None else self._expires_at_s(payload, endpoint)
        if isinstance(expires_at_s, Reason):
            return None
        tokens.used[proof.token.name] = job.started_at_s or time.time()
        job.address(name, reply_id)
        job.admit(payload, proof, None, once=endpoint.at_most_once, expires_at_s=expires_at_s)
        return AdmittedJob(payload, Command(name, arguments), endpoint)

    def _keep(self, proof: Proof, endpoint: CallFacts, queue: str) -> None:
        """Keep that a job was let in, unless more than its command, queue and token decided that."""
        if proof.signature is None and not auth.decides_by_arguments(proof.token, endpoint.spec):
            if len(self._kept) >= _KNOWN_LIMIT:
                self._kept.clear()
            self._kept[endpoint.endpoint, queue, proof.token.name] = endpoint

    def proof_of(self, payload: Job) -> Proof | None:
        """Return the token, secret and signature that fit `payload` now; None if its arguments or token are wrong."""
        submission = arguments.read(payload.fields.get("args"))
        if isinstance(submission, Reason):
            return None
        queue = acceptance.let_in_from(payload, self.plan.target.queues)
        return self.plan.tokens.proof(submission.token, acceptance.own_jid(payload), submission, queue)

    def _check(self, job: JobInProgress, payload: Job) -> AdmittedJob | Reason:
        tokens = self.plan.tokens
        args = payload.fields.get("args")
        submission = active_job.refusal(payload.fields) or arguments.read(args, tokens.hide)
        if isinstance(submission, Reason):
            token, reply_id = arguments.token_and_reply_id(args)
            job.address("", None if tokens.proof(token) is None else reply_id)
            return _without_secrets(submission, payload)
        queue = acceptance.let_in_from(payload, self.plan.target.queues)
        proof = tokens.proof(submission.token, acceptance.own_jid(payload), submission, queue)
        command, now_s = submission.command.endpoint, time.time()
        if proof is None:
            # For the log. What is in no catalogue may be a token in the wrong place.
            if self.plan.connector.spec(command) is not None:
                job.address(command, None)
            return acceptance.refuse_unproven(payload, submission, tokens.tokens)
        job.address(command, submission.reply_id)
        # The clock of Redis is asked for only if there is a signature.
        ahead_s = self.health.clock_ahead_s if proof.signature is not None else 0.0
        accepted = acceptance.accept(payload, proof, queue, now_s, ahead_s=ahead_s)
        if isinstance(accepted, Reason):
            return accepted
        endpoint = self.endpoints.get(command)
        asked = arguments.name_bare_list(submission, endpoint.spec) if submission.is_bare else submission
        fingerprint = acceptance.fingerprint_of(payload, accepted, proof, now_s + min(0.0, ahead_s))
        if isinstance(asked, Reason):
            job.prove(accepted, proof, fingerprint)
            return _without_secrets(asked, payload)
        refused = endpoint.refusal(proof.token, asked.command, job.queue)
        if refused is not None:
            job.prove(accepted, proof, fingerprint)
            return _without_secrets(refused, payload)
        expires_at_s = self._expires_at_s(accepted, endpoint)
        if isinstance(expires_at_s, Reason):
            job.prove(accepted, proof, fingerprint)
            return expires_at_s
        claimed = self._claims(accepted, proof, asked.command, endpoint.timeout_s)
        if isinstance(claimed, Reason):
            job.prove(accepted, proof, fingerprint)
            return claimed
        tokens.used[proof.token.name] = now_s
        once = endpoint.at_most_once
        self._keep(proof, endpoint, job.queue)
        job.admit(accepted, proof, fingerprint, once=once, expires_at_s=expires_at_s, claims=claimed)
        return AdmittedJob(accepted, asked.command, endpoint)

    def _expires_at_s(self, payload: Job, endpoint: CallFacts) -> float | None | Reason:
        """Return when the job expires, by our clock: its producers' clocks are taken to be as Redis' is."""
        if endpoint.expire_s is None and expiry.FIELD not in payload.fields:
            return None
        found = expiry.read(payload.fields, endpoint.expire_s)
        return found if found is None or isinstance(found, Reason) else found - self.health.clock_ahead_s

    def _claims(self, payload: Job, proof: Proof, command: Command, timeout_s: float) -> JobClaims | None | Reason:
        """Return what the job claims; None: nothing. No claim ends while a request of `timeout_s` is under way."""
        fields, target = payload.fields, self.plan.target
        lock = None
        if claims.LOCK_FIELD in fields:
            lock = claims.own_lock(fields, target.name, proof.token.name)
        key = None
        if target.idempotency_s and claims.KEY_FIELD in fields:
            key = claims.read_key(fields, acceptance.own_jid(payload))
        if isinstance(key, Reason):
            return key
        if key is None:
            return None if lock is None else JobClaims(payload.jid, lock=lock)
        name = claims.once_name(target.name, proof.token.name, key)
        mark = claims.command_mark(proof.secret, command)
        return JobClaims(payload.jid, name, target.idempotency_s + timeout_s, lock=lock, mark=mark)


def _without_secrets(reason: Reason, payload: Job) -> Reason:
    """Return a reason about a job's arguments, which it may quote, without their secrets and message texts."""
    secrets = redact.look(payload.fields)[1]
    # The sentence is ours, and quotes nothing that names a secret (`endpoint.bare`).
    return reason.hide_secrets(hiding.make_hide(secrets - {hiding.EVERYTHING}), hiding.EXCERPT_LIMIT)
