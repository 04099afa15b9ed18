"""Editing jobs: what they become, which are not edited, and that nobody gains a right by it."""

import json
from collections.abc import Callable
from threading import Thread
from typing import Any

import attrs
import pytest

from restbroker.broker.tokens import Tokens
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.job import rubyjson, sealing, settle, signing
from restbroker.job.arguments import Submission
from restbroker.job.backoff import SidekiqBackoff
from restbroker.job.command import Call, Command
from restbroker.job.job import Job, read
from restbroker.job.outcome import Delivered, Outcome, Reason, Rejected, Uncertain
from restbroker.job.policy import Context, Policy
from restbroker.job.settlement import Retry
from restbroker.operate import audit
from restbroker.operate.act import Action, Progress, perform
from restbroker.operate.act_set import SetJobs
from restbroker.operate.context import ConfigContext
from restbroker.operate.edit import Edit
from restbroker.operate.where import read as conditions
from restbroker.servers.ejabberd import catalogue
from restbroker.servers.ejabberd.outcomes import classify
from restbroker.store import dead_copies, paging, sets
from restbroker.store.client import Client, StoreSettings, open_client
from restbroker.store.sets import Placement
from restbroker.transport.message import Response
from tests.operate.conftest import NOW_S, Put, fields_of, job
from tests.operate.test_act import members, queued
from tests.support.old_signatures import old_signature

FLAT = Token("default", (Secret("right-token"),), flat=True)
APP = Token("app", (Secret("app-secret-of-20-chars"),))
ALICE = {"user": "alice", "host": "example.org", "password": "hush-hush"}
ONE = SetJobs("dead", ("j1",))


@attrs.frozen
class Jobs:
    """The jobs in Redis, what is known of them, and the edits of them."""

    client: Client
    known: ConfigContext

    def put(self, fields: dict[str, Any], zset: str = "dead") -> bytes:
        """The one job that there is."""
        self.client.command("FLUSHALL")
        raw = rubyjson.dumps(fields)
        self.client.command("ZADD", f"ns:{zset}", NOW_S, raw)
        return raw

    def edit(self, edit: Edit, zset: Any = "dead", chosen: SetJobs = ONE, **how: Any) -> Progress:
        dry_run = how.pop("dry_run", False)
        action = Action("edit", "ann@web1", edit=edit, **how)
        *_, last = perform(self.client, attrs.evolve(chosen, zset=zset), action, self.known, dry_run=dry_run)
        return last

    def only(self) -> dict[str, Any]:
        (raw,) = members(self.client, "dead")
        return fields_of(raw)

    def refused(self, edit: Edit, **how: Any) -> str:
        """Why the one job there is not edited; it is as it was."""
        before = members(self.client, "dead")
        last = self.edit(edit, **how)
        assert (last.done, members(self.client, "dead")) == (0, before)
        ((why, count),) = last.refused.items()
        assert count == 1
        return why


@pytest.fixture
def jobs(client: Client, configured: ConfigContext) -> Jobs:
    return Jobs(client, configured)


def change(*tokens: Token, **values: Any) -> Edit:
    return Edit(tokens=Tokens(tokens or (FLAT,)), values=values)


def sealed(token: Token = APP, **more: Any) -> dict[str, Any]:
    """A job of this token as a broker stores it."""
    secret = token.secrets[0].reveal()
    plain = read(job("j1", arguments=ALICE, **more), "rest", "")
    assert isinstance(plain, Job)
    return dict(sealing.seal(plain, secret, token.name, 5, NOW_S).fields)


def test_a_token_in_the_commands_place_is_not_shown(jobs: Jobs) -> None:
    jobs.put({"class": "Add", "jid": "j1", "args": ["a-secret-token", {}, "a-secret-token"]})
    assert "a-secret-token" not in jobs.refused(change(user="q"))


def test_edited_job_keeps_its_place_and_names_the_editor(jobs: Jobs, put: Put) -> None:
    before = fields_of(jobs.put(fields_of(job("j1", arguments=ALICE, retry_count=3))))
    edit = attrs.evolve(change(user="bob"), unset=("password",), command="unregister")
    assert jobs.edit(edit).done == 1
    after = jobs.only()
    (note,) = after.pop("restbroker_attempts")
    assert (note["outcome"], note["excerpt"]) == ("edited", "ann@web1 changed user, password, command.")
    assert after.pop("args") == ["unregister", {"user": "bob", "host": "example.org"}, "right-token"]
    assert (after.pop("display_class"), after.pop("restbroker_revision")) == ("unregister", 1)
    assert after == {name: value for name, value in before.items() if name != "args"}
    assert jobs.client.command("ZSCORE", "ns:dead", members(jobs.client, "dead")[0]) in (NOW_S, repr(NOW_S).encode())


def test_a_job_is_edited_and_sent_in_one_step(jobs: Jobs) -> None:
    for zset, count in (("dead", 3), ("retry", 3), ("schedule", 4)):
        jobs.put(fields_of(job("j1", arguments=ALICE, retry_count=4)), zset)
        edit = attrs.evolve(change(user="bob"), retry=True, queue="other")
        assert jobs.edit(edit, zset).done == 1
        assert members(jobs.client, zset) == []
        (pushed,) = queued(jobs.client, "other")
        assert (pushed["queue"], pushed["args"][1]["user"], pushed["retry_count"]) == ("other", "bob", count)


def test_edited_jobs_go_first_in_line_and_no_more_than_the_limit(jobs: Jobs) -> None:
    jobs.client.command("LPUSH", "ns:queue:rest", job("waits"))
    for n in range(4):
        jobs.client.command("ZADD", "ns:dead", NOW_S + n, job(f"j{n}", arguments=ALICE))
    edit = attrs.evolve(change(user="bob"), retry=True)
    assert jobs.edit(edit, chosen=SetJobs("dead", limit=3), first=True).done == 3
    assert [entry["jid"] for entry in queued(jobs.client)] == ["waits", "j3", "j2", "j1"]
    assert [fields_of(raw)["jid"] for raw in members(jobs.client, "dead")] == ["j0"]
    assert next(iter(audit.entries(jobs.client, 1))).note.where == "all (at most 3) (set user, retry, next in line)"


def test_value_the_catalogue_refuses_changes_nothing(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", arguments=ALICE)))
    rows: tuple[tuple[Edit, str], ...] = (
        (change(usr="bob"), "no argument 'usr'; did you mean user?"),
        (change(user=[1]), "user must be a string"),
        (attrs.evolve(change(), unset=("user",)), "also needs user"),
        (attrs.evolve(change(), command="regster"), "did you mean"),
        (attrs.evolve(change(), command="a b"), "b"),
        (attrs.evolve(change(), queue="foreign"), "serves the queue 'foreign'"),
        (change(user="alice"), "nothing would change"),
        (attrs.evolve(change(), unset=("none",)), "nothing would change"),
    )
    for edit, why in rows:
        assert why in jobs.refused(edit)
    assert list(audit.entries(jobs.client, 10)) == []


def test_texts_become_what_the_command_takes(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", "delete_old_users", arguments={"days": 5})))
    token = attrs.evolve(APP, secrets=(Secret("right-token"),), allow=("*", "dangerous:*"))
    assert jobs.edit(change(token, days="30")).done == 1
    assert jobs.only()["args"][1] == {"days": 30}


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to gain a right by a person's edit")
def test_a_job_that_was_not_let_in_gains_no_right(jobs: Jobs) -> None:
    for code in ("BadToken", "BadSignature", "SignatureNeeded", "UntimelySignature"):
        jobs.put(fields_of(job("j1", arguments=ALICE, error_class=code)))
        assert f"failed as {code}" in jobs.refused(change(user="bob"))
    for token in (
        attrs.evolve(FLAT, secrets=(Secret("another"),)),
        attrs.evolve(APP, secrets=FLAT.secrets, signed=True),
    ):
        jobs.put(fields_of(job("j1", arguments=ALICE)))
        assert "enqueue" in jobs.refused(change(token, user="bob"))


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to gain a right by a person's edit")
def test_the_token_must_allow_what_the_job_becomes(jobs: Jobs) -> None:
    rows = (
        (attrs.evolve(APP, allow=("register",)), attrs.evolve(change(), command="unregister"), "unregister"),
        (attrs.evolve(APP, hosts=("example.org",)), change(host="example.com"), "example.com"),
        (attrs.evolve(APP, queues=("rest",)), attrs.evolve(change(), queue="other"), "other"),
        (attrs.evolve(APP, targets=("ejabberd",)), attrs.evolve(change(user="x"), queue="other"), "other"),
        (attrs.evolve(APP, allow=("status",)), change(user="bob"), "register"),
    )
    for token, edit, why in rows:
        for fields in (sealed(), fields_of(job("j1", arguments=ALICE))):
            jobs.put(fields)
            held = token if "restbroker_accepted" in fields else attrs.evolve(token, secrets=FLAT.secrets)
            unset = ("password",) if edit.command else ()
            assert why in jobs.refused(attrs.evolve(edit, tokens=Tokens((held,)), unset=unset))


@pytest.mark.parametrize("form", ["v1q", "v1"])
def test_a_sealed_job_is_sealed_again_as_what_it_became(jobs: Jobs, form: str) -> None:
    fields, secret = sealed(), APP.secrets[0].reveal()
    if form == "v1":
        given = signing.read(old_signature(secret, 5, "j1", "register", ALICE))
        assert given is not None
        mark = signing.acceptance(secret, given, "rest", NOW_S)
        fields |= {"args": ["register", ALICE, given.text], "restbroker_accepted": mark}
    jobs.put(fields)
    assert jobs.edit(change(APP, user="bob")).done == 1
    after = jobs.only()
    signature = signing.read(after["args"][2])
    assert signature is not None
    assert signature.version == "v1q"
    submission = Submission(Command("register", {**ALICE, "user": "bob"}), None, None)
    proof = Tokens((APP,)).proof(after["args"][2], "j1", submission, "rest")
    assert proof is not None
    assert signing.accepted_at_s(after, proof.secret, signature) is not None
    assert "app-secret" not in json.dumps(after)
    assert jobs.edit(change(APP, user="carol")).done == 1


@pytest.mark.promise("Security: who can write to Redis beyond the queues", "to gain a right by a person's edit")
def test_a_seal_counts_only_if_its_signature_and_its_mark_hold(jobs: Jobs) -> None:
    def other_arguments(fields: dict[str, Any]) -> None:
        fields["args"] = ["unregister", *fields["args"][1:]]

    def forged_mark(fields: dict[str, Any]) -> None:
        fields["restbroker_accepted"] = f"{'0' * 64}:rest"

    def no_mark(fields: dict[str, Any]) -> None:
        del fields["restbroker_accepted"]

    def other_jid(fields: dict[str, Any]) -> None:
        fields["jid"] = "j2"

    rows: tuple[Callable[[dict[str, Any]], None], ...] = (other_arguments, forged_mark, no_mark, other_jid)
    for spoil in rows:
        fields = sealed()
        spoil(fields)
        jobs.put(fields)
        assert "enqueue" in jobs.refused(change(APP, user="bob"), chosen=SetJobs("dead", (fields["jid"],)))
    jobs.put(sealed())
    replaced = attrs.evolve(APP, secrets=(Secret("newer-secret-of-20-chars"),))
    assert "enqueue" in jobs.refused(change(replaced, user="bob"))


def test_job_signed_by_its_producer_is_not_edited(jobs: Jobs) -> None:
    submission = Submission(Command("register", ALICE), None, None)
    secret = APP.secrets[0].reveal()
    text = signing.sign(secret, "app", int(NOW_S), "j1", submission, "rest")
    signature = signing.read(text)
    assert signature is not None
    fields = fields_of(job("j1", arguments=ALICE))
    mark = signing.acceptance(secret, signature, "rest", NOW_S)
    jobs.put({**fields, "args": ["register", ALICE, text], "restbroker_accepted": mark})
    assert "Its producer signed it" in jobs.refused(change(attrs.evolve(APP, signed=True), user="bob"))


def test_job_no_target_here_serves_is_not_edited(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", arguments=ALICE, queue="foreign")))
    for queue in (None, "rest"):
        assert "No target" in jobs.refused(attrs.evolve(change(user="bob"), queue=queue))


def test_job_that_may_have_run_becomes_another_command_on_demand(jobs: Jobs) -> None:
    tried = [{"at": 1.0, "outcome": "uncertain", "code": "Uncertain"}]
    message = {"type": "chat", "from": "a@b", "to": "c@d", "subject": "", "body": "hi"}
    ran = {"restbroker_uncertain": 2, "restbroker_may_have_run": True, "restbroker_effected": True,
           "restbroker_deferred": 3, "restbroker_crowded": 1, "restbroker_crashes": 4,
           "restbroker_attempts": tried}  # fmt: skip
    jobs.put(fields_of(job("j1", "send_message", arguments=message, **ran)))
    edit = change(to="e@f")
    assert "--repeat-unsafe" in jobs.refused(edit)
    assert jobs.edit(edit, repeat_unsafe=True).done == 1
    after = jobs.only()
    assert set(after) & set(ran) == {"restbroker_attempts"}
    # Nothing that the first form did is said of the second: a retry asks no more.
    assert [attempt["outcome"] for attempt in after["restbroker_attempts"]] == ["uncertain", "edited"]
    *_, last = perform(jobs.client, ONE, Action("retry", "ann"), jobs.known)
    assert last.done == 1


def test_another_queue_of_the_same_target_makes_no_other_command(jobs: Jobs) -> None:
    second = ConfigContext({**jobs.known.targets, "rest2": jobs.known.targets["rest"]}, jobs.known.secrets)
    jobs.put({**sealed(), "restbroker_may_have_run": True, "restbroker_crashes": 3})
    before = {**jobs.only(), "restbroker_uncertain": 3}
    del before["restbroker_crashes"]
    assert Jobs(jobs.client, second).edit(attrs.evolve(change(APP), queue="rest2")).done == 1
    after = jobs.only()
    assert after.pop("restbroker_attempts")[-1]["outcome"] == "moved"
    assert after == {**before, "queue": "rest2"}


def test_a_user_that_an_edited_job_finds_was_not_made_by_it(jobs: Jobs) -> None:
    first = read(job("j1", arguments=ALICE, error_class=None, failed_at=None, retry_count=None), "rest", "")
    assert isinstance(first, Job)
    spec = catalogue.for_version("24.12").commands["register"]
    context = Context(Policy(SidekiqBackoff()), NOW_S, 0.0, 0, "", command="register")
    lost = settle.settle(first, spec, Uncertain(Reason("Uncertain", "No answer.")), context)
    assert isinstance(lost, Retry)

    def answered(raw: bytes) -> Outcome:
        again = read(raw, "rest", "")
        assert isinstance(again, Job)
        call = Call(Command("register", again.fields["args"][1]), maybe_run=again.may_have_run, identity=again.identity)  # type: ignore[index, arg-type]
        body = b'{"status": "error", "code": 10090, "message": "User already registered"}'
        return classify(call, spec, Response(409, {}, body, 0.1))

    assert isinstance(answered(lost.payload), Delivered)
    jobs.client.command("ZADD", "ns:retry", NOW_S, lost.payload)
    assert jobs.edit(attrs.evolve(change(user="bob"), retry=True), "retry", repeat_unsafe=True).done == 1
    pushed = jobs.client.command("RPOP", "ns:queue:rest")
    assert isinstance(pushed, bytes)
    outcome = answered(pushed)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.code == "AlreadyExists"
    identity = [one.identity for raw in (lost.payload, pushed) if isinstance(one := read(raw, "rest", ""), Job)]
    assert identity == ["j1", "j1-r1"]


def test_faster_change_wins(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    place = sets.place
    rows: tuple[Callable[[Client], object], ...] = (
        lambda other: other.command("DEL", "ns:dead"),
        lambda other: [*perform(other, ONE, Action("retry", "bea"), jobs.known)],
        lambda other: [*perform(other, ONE, Action("edit", "bea", edit=change(user="bea")), jobs.known)],
    )
    for meanwhile in rows:
        jobs.put(fields_of(job("j1", arguments=ALICE)))

        def late(one: Client, *rest: Any, meanwhile: Callable[[Client], object] = meanwhile) -> Any:
            monkeypatch.setattr(sets, "place", place)
            meanwhile(one)
            return place(one, *rest)

        monkeypatch.setattr(sets, "place", late)
        last = jobs.edit(change(user="ann"))
        assert (last.done, last.gone) == (0, 1)
        left = [fields_of(raw)["args"][1]["user"] for raw in members(jobs.client, "dead")]
        assert left in ([], ["bea"])


def test_edits_promotions_and_deletions_lose_and_double_no_job(jobs: Jobs, redis_url: str) -> None:
    for n in range(300):
        jobs.client.command("ZADD", "ns:retry", n, job(f"j{n}", arguments={**ALICE, "user": f"u{n}"}))

    def on_its_own(work: Callable[[Client], object]) -> Thread:
        def run() -> None:
            other = open_client(StoreSettings(redis_url, namespace="ns"))
            work(other)
            other.close()

        return Thread(target=run)

    deleted: list[int] = []

    def promote(other: Client) -> None:
        while ours := [
            raw for raw, _ in paging.piece(other, "retry", None, 300, newest_first=False).members if b'"u1' in raw
        ]:
            sets.place(other, "retry", [Placement(raw, "rest") for raw in ours[:7]])

    def delete(other: Client) -> None:
        chosen = SetJobs("retry", where=conditions(["jid = *7"], NOW_S))
        *_, last = perform(other, chosen, Action("delete", "bea"), jobs.known)
        deleted.append(last.done)

    def edit(other: Client) -> None:
        Jobs(other, jobs.known).edit(change(host="example.com"), "retry", SetJobs("dead"))

    threads = [on_its_own(work) for work in (promote, delete, edit, edit)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = [fields_of(raw)["jid"] for raw in members(jobs.client, "retry")]
    pushed = [job["jid"] for job in queued(jobs.client)]
    assert len(set(waiting + pushed)) == len(waiting) + len(pushed) == 300 - deleted[0]


def test_all_that_match_are_edited_once_each(jobs: Jobs) -> None:
    for n in range(250):
        user = {**ALICE, "user": "alice" if n % 2 else "zoe"}
        jobs.client.command("ZADD", "ns:dead", NOW_S + n // 100, job(f"j{n}", arguments=user))
    chosen = SetJobs("retry", where=conditions(["arg.user = alice"], NOW_S))
    preview = jobs.edit(change(password="new-secret"), chosen=chosen, dry_run=True)
    assert (preview.done, len(preview.previews)) == (125, 5)
    last = jobs.edit(change(password="new-secret"), chosen=chosen)
    assert (last.done, last.refused) == (125, {})
    revisions = [fields_of(raw).get("restbroker_revision") for raw in members(jobs.client, "dead")]
    assert (revisions.count(1), revisions.count(None)) == (125, 125)


def test_a_guess_at_what_is_hidden_is_not_answered(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", arguments=ALICE)))
    for guess in ("hush-hush", "another"):
        assert jobs.edit(change(password=guess), dry_run=True).done == 1


def test_the_audit_has_the_difference_without_secrets(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", arguments=ALICE)))
    jobs.edit(change(user="bob", password="new-secret"))
    newest = next(audit.entries(jobs.client, 1)).note
    assert newest.changes == "j1: user: alice → bob, password: *** → *** (what was given)"
    notes = [str(entry.note) for entry in audit.entries(jobs.client, 10)]
    assert any("set user, set password" in note for note in notes)
    assert not any(word in note for note in notes for word in ("hush", "new-secret", "right-token"))
    assert "new-secret" not in json.dumps(jobs.only()["restbroker_attempts"])


def test_a_replaced_secret_is_in_no_word_of_what_failed_before(jobs: Jobs) -> None:
    tries = [{"at": NOW_S, "outcome": "rejected", "excerpt": "hush-hush is too short"}]
    message = "Of alice hush-hush is too short."
    jobs.put(fields_of(job("j1", arguments=ALICE, error_message=message, restbroker_attempts=tries)))
    jobs.edit(change(password="new-secret"))
    assert "hush" not in json.dumps(jobs.only())
    assert jobs.only()["error_message"] == "Of alice *** is too short."


def test_a_job_edited_in_the_dead_set_is_copied_as_it_is_now(jobs: Jobs) -> None:
    jobs.put(fields_of(job("j1", arguments=ALICE)))
    jobs.edit(change(user="bob"))
    (copy,) = dead_copies.newest(jobs.client, 10)
    assert [copy.payload] == members(jobs.client, "dead")


def test_an_argument_gets_another_name_and_keeps_its_value(jobs: Jobs, put: Put) -> None:
    for old, new in (("usr", "user"), ("pasword", "password")):
        jobs.client.command("FLUSHALL")
        arguments = {old if name == new else name: value for name, value in ALICE.items()}
        put("dead", NOW_S, "j1", arguments=arguments)
        last = jobs.edit(attrs.evolve(change(), renames={old: new, "none": "nothing"}))
        ((before, after),) = last.previews
        assert jobs.only()["args"][1] == ALICE
        assert before.arguments == {**arguments, "pasword" if old == "pasword" else "password": "***"}
        assert after.arguments == {**ALICE, "password": "***"}
        assert f"rename {old} to {new}" in next(audit.entries(jobs.client, 1)).note.where
    both = jobs.edit(attrs.evolve(change(), renames={"host": "user"}))
    assert [why.partition(":")[0] for why in both.refused] == ["It has the argument user as well as host"]


def test_a_hidden_value_is_kept_only_where_it_stays_hidden(jobs: Jobs) -> None:
    token = attrs.evolve(APP, secrets=(Secret("right-token"),), allow=("*", "dangerous:*"))
    plain = change(token)
    whatever = attrs.evolve(plain, any_command=True)
    lacking = {"user": "alice", "host": "example.org", "pw": "hush-hush"}
    both = {**ALICE, "nick": "hush-hush"}
    setting = {"key": "name", "value": "hush-hush"}
    rows: tuple[tuple[str, dict[str, Any], dict[str, Any], Edit, str], ...] = (
        ("register", ALICE, {}, attrs.evolve(plain, renames={"password": "reason"}, command="ban_account"), "password"),
        ("register", {"password": "4711.5"}, {}, attrs.evolve(plain, renames={"password": "days"},
         command="delete_old_users"), "password"),
        ("register", lacking, {}, attrs.evolve(whatever, values={"password": "newone"}), "pw"),
        ("register", lacking, {}, attrs.evolve(whatever, command="unregister"), "pw"),
        ("register", both, {}, attrs.evolve(whatever, values={"password": "newone"}), "nick"),
        ("register", both, {}, attrs.evolve(whatever, values={"password": "hush-hush"}), "nick"),
        ("create_system_property", setting, {"queue": "openfire"}, attrs.evolve(whatever, command="foo"), "value"),
        ("create_system_property", setting, {"queue": "openfire"}, attrs.evolve(whatever, queue="rest"), "value"),
        ("send_message", {"body": "hush-hush"}, {}, attrs.evolve(whatever, renames={"body": "words"}), "body"),
    )  # fmt: skip
    for command, arguments, more, edit, name in rows:
        jobs.put(fields_of(job("j1", command, arguments=arguments, **more)))
        assert jobs.refused(edit).startswith(f"The argument '{name}' is hidden, and its value would be")
        assert list(audit.entries(jobs.client, 10)) == []


def test_a_hidden_value_may_be_removed_replaced_or_renamed(jobs: Jobs) -> None:
    ban = attrs.evolve(change(), command="ban_account")
    ban = attrs.evolve(ban, tokens=Tokens((attrs.evolve(APP, secrets=(Secret("right-token"),), allow=("*",)),)))
    whatever = attrs.evolve(change(), any_command=True)
    rows: tuple[tuple[Edit, str, Any], ...] = (
        (attrs.evolve(ban, unset=("password", "form"), values={"reason": "spam"}), "reason", "spam"),
        (attrs.evolve(whatever, command="unknown"), "password", "***"),
        (attrs.evolve(whatever, renames={"password": "passphrase"}), "passphrase", "***"),
        (attrs.evolve(whatever, renames={"password": "reason"}), "reason", "***"),
        (attrs.evolve(whatever, renames={"form": "fields"}, command="unknown"), "fields", [1, {"passwd": "***"}]),
    )
    for edit, name, shown in rows:
        jobs.put(fields_of(job("j1", arguments={**ALICE, "form": [1, {"passwd": "hush-hush"}]})))
        ((_, after),) = jobs.edit(edit).previews
        assert isinstance(after.arguments, dict)
        assert after.arguments[name] == shown
