"""Admits a job: its payload and arguments have the right form, and its token is known and allows its command.

No server of XMPP gets a text that XML cannot hold, whatever its kind.

Its life calls `read` and `admit` before anything else is done for a job. Always holds: only a producer that knows
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
from typing import Final

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
from restbroker.job.json_types import Json
from restbroker.job.outcome import Reason
from restbroker.job.xml_text import refuse_unfit
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
    default_host: str | None
    _dangerous: Mapping[str, frozenset[str]]
    _refusals: dict[str, Reason | None] = field(factory=dict)

    def refusal(self, token: Token, command: Command, queue: str) -> Reason | None:
        """Return why the token does not allow `command`, whose endpoint this is, from `queue`; None if it does."""
        if token.name not in self._refusals:
            self._refusals[token.name] = auth.command_refusal(token, self.endpoint, self.spec, self._dangerous)
        refused = auth.place_refusal(token, self._target, queue) or self._refusals[token.name]
        return refused or auth.argument_refusal(token, command, self.spec, self.default_host)


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
        fields, is_plain = payload.fields, payload.is_plain
        args = fields.get("args")
        if type(args) is not list or not 3 <= len(args) <= _MOST_ARGS or not (is_plain or _RULED.isdisjoint(fields)):
            return self._check(job, payload)
        name, given, reply_id = args[0], args[1], args[3] if len(args) == _MOST_ARGS else None
        if type(name) is not str or type(given) is not dict or not (reply_id is None or _is_reply_id(reply_id)):
            return self._check(job, payload)
        # Of a usual form: what was let in before by command, queue and token is so again.
        proof = self.plan.tokens.of_secret(args[2])
        endpoint = None if proof is None else self._kept.get((name, job.queue, proof.token.name))
        if proof is None or endpoint is None or endpoint.spec is not self.plan.connector.spec(name):
            return self._check(job, payload)
        # JSON has a backslash before each control character, and U+FFFE and U+FFFF begin with these bytes.
        if self.plan.is_xmpp and (b"\\" in payload.raw or b"\xef\xbf" in payload.raw) and refuse_unfit(given):
            return self._check(job, payload)
        expires_at_s = None if is_plain and endpoint.expire_s is None else self.expires_at_s(payload, endpoint)
        if isinstance(expires_at_s, Reason):
            return self._check(job, payload)
        once, now_s = endpoint.at_most_once, job.started_at_s or time.time()
        self.plan.tokens.used[proof.token.name] = now_s
        job.admit(payload, proof, name, reply_id, once=once, expires_at_s=expires_at_s)
        if not is_plain or reply_id is not None:
            self._warn_of_unmet(job, payload)
        return AdmittedJob(payload, Command(name, given), endpoint)

    def _warn_of_unmet(self, job: JobInProgress, payload: Job) -> None:
        """Warn of what the job asks for and does not get here."""
        for found in self.plan.unmet(payload, job.reply_id, job.expires_at_s):
            warning = OperatorWarning(
                found.code, f"A job of the target {self.plan.target.name} {found.what}.", found.hint
            )
            self.identity.report_once(f"{found.code} {found.hint}", warning, again_s=_WARN_AGAIN_S)

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

    def expires_at_s(self, payload: Job, endpoint: CallFacts) -> float | None | Reason:
        """Return when the job expires, by our clock: its producers' clocks are taken to be as Redis' is."""
        if endpoint.expire_s is None and expiry.FIELD not in payload.fields:
            return None
        found = expiry.read(payload.fields, endpoint.expire_s)
        return found if found is None or isinstance(found, Reason) else found - self.health.clock_ahead_s

    def _check(self, job: JobInProgress, payload: Job) -> AdmittedJob | Reason:
        check = _Check(self, job, payload, time.time())
        for rule, quotes in _RULES:
            reason = rule(check)
            if reason is not None:
                reason = _without_secrets(reason, payload) if quotes else reason
                return reason.hide_secrets(hiding.make_hide(self.plan.tokens.values), hiding.EXCERPT_LIMIT)
        admitted = check.admit()
        self._keep(check.proof, admitted.endpoint, job.queue)
        self._warn_of_unmet(job, payload)
        return admitted


@define(eq=False)
class _Check:
    """One job that is checked: what its rules have found out so far. Each returns why the job is refused, or None."""

    admission: Admission
    job: JobInProgress
    payload: Job
    """With the mark that it was accepted, from then on, if it is signed."""
    now_s: float
    asked: arguments.Submission = field(init=False)
    proof: Proof = field(init=False)
    endpoint: CallFacts = field(init=False)
    expires_at_s: float | None = None
    claims: JobClaims | None = None

    def refuse_form(self) -> Reason | None:
        """Read its arguments."""
        fields, tokens = self.payload.fields, self.admission.plan.tokens
        asked = active_job.refusal(fields) or arguments.read(fields.get("args"), tokens.hide)
        if isinstance(asked, Reason):
            token, reply_id = arguments.token_and_reply_id(fields.get("args"))
            self.job.address("", None if tokens.proof(token) is None else reply_id)
            return asked
        self.asked = asked
        return None

    def refuse_proof(self) -> Reason | None:
        """Find its token, and accept its signature if it has one."""
        plan, payload, asked = self.admission.plan, self.payload, self.asked
        queue, command = acceptance.let_in_from(payload, plan.target.queues), asked.command.endpoint
        proof = plan.tokens.proof(asked.token, acceptance.own_jid(payload), asked, queue)
        if proof is None:
            # For the log. What is in no catalogue may be a token in the wrong place.
            if plan.connector.spec(command) is not None:
                self.job.address(command, None)
            return acceptance.refuse_unproven(payload, asked, plan.tokens.tokens)
        self.job.address(command, asked.reply_id)
        # The clock of Redis is asked for only if there is a signature.
        ahead_s = self.admission.health.clock_ahead_s if proof.signature is not None else 0.0
        accepted = acceptance.accept(payload, proof, queue, self.now_s, ahead_s=ahead_s)
        if isinstance(accepted, Reason):
            return accepted
        slower_s = self.now_s + min(0.0, ahead_s)
        self.job.prove(accepted, proof, acceptance.fingerprint_of(payload, accepted, proof, slower_s))
        self.payload, self.proof = accepted, proof
        return None

    def refuse_command(self) -> Reason | None:
        """Find its command, which its token must allow."""
        self.endpoint = self.admission.endpoints.get(self.asked.command.endpoint)
        asked = arguments.name_bare_list(self.asked, self.endpoint.spec)
        if isinstance(asked, Reason):
            return asked
        self.asked = asked
        return self.endpoint.refusal(self.proof.token, asked.command, self.job.queue)

    def refuse_texts(self) -> Reason | None:
        """Look for a text that no server of XMPP may get."""
        return refuse_unfit(self.asked.command.arguments) if self.admission.plan.is_xmpp else None

    def refuse_expiry(self) -> Reason | None:
        """Read when it expires."""
        expires_at_s = self.admission.expires_at_s(self.payload, self.endpoint)
        if isinstance(expires_at_s, Reason):
            return expires_at_s
        self.expires_at_s = expires_at_s
        return None

    def refuse_claims(self) -> Reason | None:
        """Read what it claims. No claim ends while a request is under way."""
        payload, target, token, lock, key = self.payload, self.admission.plan.target, self.proof.token.name, None, None
        fields = payload.fields
        if claims.LOCK_FIELD in fields:
            lock = claims.own_lock(fields, target.name, token)
        if target.idempotency_s and claims.KEY_FIELD in fields:
            key = claims.read_key(fields, acceptance.own_jid(payload))
        if isinstance(key, Reason):
            return key
        if key is not None:
            mark = claims.command_mark(self.proof.secret, self.asked.command)
            name, keep_s = claims.once_name(target.name, token, key), target.idempotency_s + self.endpoint.timeout_s
            self.claims = JobClaims(payload.jid, name, keep_s, lock=lock, mark=mark)
        elif lock is not None:
            self.claims = JobClaims(payload.jid, lock=lock)
        return None

    def admit(self) -> AdmittedJob:
        """Note that no rule refused it."""
        command, reply_id, once = self.asked.command, self.asked.reply_id, self.endpoint.at_most_once
        expires_at_s, claimed = self.expires_at_s, self.claims
        self.admission.plan.tokens.used[self.proof.token.name] = self.now_s
        self.job.admit(
            self.payload, self.proof, command.endpoint, reply_id, once=once, expires_at_s=expires_at_s, claims=claimed
        )
        return AdmittedJob(self.payload, command, self.endpoint)


_RULES: Final = (
    (_Check.refuse_form, True),
    (_Check.refuse_proof, False),
    (_Check.refuse_command, True),
    (_Check.refuse_texts, True),
    (_Check.refuse_expiry, False),
    (_Check.refuse_claims, False),
)
"""The rules in their order; True: the reason may quote the job's arguments."""


def _is_reply_id(given: Json) -> bool:
    return type(given) in _REPLY_IDS and given != ""


def _without_secrets(reason: Reason, payload: Job) -> Reason:
    """Return a reason about a job's arguments, which it may quote, without their secrets and message texts."""
    secrets = redact.look(payload.fields)[1]
    # The sentence is ours, and quotes nothing that names a secret (`endpoint.bare`).
    return reason.hide_secrets(hiding.make_hide(secrets - {hiding.EVERYTHING}), hiding.EXCERPT_LIMIT)
