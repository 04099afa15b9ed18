"""A server's answer: masked for people, unmasked for the code that judges it, and the outcomes made from it.

Each kind has an `AnswerForm` that finds the error in its server's answers; its judge, probe and check call `read`.
Always holds: no body makes `read` raise; `text` and `message` have neither a secret of the call nor the request's
login. A text is masked as a whole before it is cut, searched or split.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypedDict, Unpack

from restbroker.config.target_secrets import spellings_of
from restbroker.job import hiding, redact
from restbroker.job.command import Call, CommandSpec
from restbroker.job.json_types import Json
from restbroker.job.outcome import Deferred, Delivered, Denied, Ran, Reason, Rejected, Uncertain
from restbroker.light import field, frozen
from restbroker.servers.api.texts import parse_json
from restbroker.transport.message import Response, retry_after_s, text_of

WORDS_LIMIT: Final = 300
_LOGIN: Final = re.compile("//[^/]*@")
_VERSION_LIMIT: Final = 40
Parse: TypeAlias = Callable[[Response, str], tuple[str, str]]
"""A function `(response, text)` → the server's own name of the error ("" for none), and what the server says.

`text` is the body, masked for people, or as it came for a judge.
"""


@frozen
class MaskedText:
    """The masked texts of one answer; `text` is its body, masked and cut."""

    text: str
    _response: Response = field(repr=False)
    _known: hiding.Spellings = field(repr=False)
    _hide: hiding.Hide = field(repr=False)

    def beginning(self, words: str) -> str:
        """Return a part of the answer as it came, but masked and cut as the body is."""
        return hiding.beginning(words, self._known)

    def hide(self, words: str) -> str:
        """Return a part of the answer on one line, masked and cut; if it is hidden, with the size of the answer."""
        shown = self._hide(words, WORDS_LIMIT)
        return f"{len(self._response.body):,} bytes {shown}" if shown == hiding.HIDDEN else shown

    def version(self, words: str) -> str | None:
        """Return the first word of a text that tells a version, masked and cut; None if there is none."""
        shown = self._hide(words, WORDS_LIMIT)
        return None if shown == hiding.HIDDEN else (shown.split() or [""])[0][:_VERSION_LIMIT] or None

    def address(self) -> str:
        """Return the address that a redirect names, masked, without login and query; "" if the answer names none."""
        location = self._response.headers.get("location", "")
        where = self._hide(location, len(location))
        return self._hide(_LOGIN.sub("//", where).partition("?")[0], WORDS_LIMIT)


def mask_response(response: Response, known: hiding.Spellings) -> MaskedText:
    """Return the texts of an answer, with the `known` spellings, its request's login and target's secrets masked."""
    known |= hiding.login_spellings(response.request_pairs) | spellings_of(response.secrets)
    # A character has four bytes at most, and one more character tells that there are more.
    body = response.body[: 4 * (hiding.START_SEARCHED + 1)].decode("utf-8", "replace")
    return MaskedText(hiding.beginning(body, known), response, known, hiding.make_hide((), known))


class Deferral(TypedDict, total=False):
    """Fields of a `Deferred` that differ from its defaults."""

    counts: bool
    max_attempts: int | None
    pause_target: bool
    of_job: bool
    ran: Ran


def is_of_api(response: Response) -> bool:
    """Tell whether an answer has nothing in it, JSON or XML, as those of APIs do, and is no page of a gateway."""
    kind = response.headers.get("content-type", "")
    is_json = parse_json(response.parsable) is not None
    return is_json or not response.body.strip() or ("xml" in kind and "html" not in kind)


@frozen
class AnswerForm:
    """How a server answers; `parse` finds the error in an answer, `secrets` are masked in each.

    `prefix`: the text before the server's words in a message; `{status}` in it becomes the status. `is_own` tells
    whether an answer is the server's, and not a gateway's.
    """

    parse: Parse
    secrets: hiding.Spellings = field(default=frozenset(), repr=False)
    prefix: str = "Status {status}: "
    is_own: Callable[[Response], bool] = is_of_api


@frozen
class Answer:
    """One answer. `message`: the server's message, masked, for people; `text`: its body, masked and cut.

    `is_own`: it comes from the server's own API, and is not a page of a proxy, as far as its reader can tell.

    `code`, the server's own name of the error, `raw_message`, its message, and `body`, parsed (None if its kind does
    not parse it), are not masked, and only for the code that judges: a password may be "ejabberd". `now_s` (epoch
    seconds) is for a Retry-After that names a date.
    """

    response: Response = field(repr=False)
    masked_text: MaskedText
    message: str
    code: str = field(repr=False)
    raw_message: str = field(repr=False)
    now_s: float
    _form: AnswerForm = field(repr=False)
    body: Json = field(default=None, repr=False)
    is_own: bool = True

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return self.response.status

    @property
    def text(self) -> str:
        """The body, masked and cut."""
        return self.masked_text.text

    @property
    def summary(self) -> str:
        """The status and the words, to stand in brackets: `status 404: No such user`."""
        return f"status {self.status}: {self._about}" if self._about else f"status {self.status}"

    @property
    def sentence(self) -> str:
        """The server's message behind the prefix of its `AnswerForm`, as a sentence."""
        if self._about:
            return self._form.prefix.format(status=self.status) + self._about
        return f"The server answered with status {self.status} and no text."

    @property
    def _about(self) -> str:
        # The headings of pages begin with the status.
        return self.message.removeprefix(f"{self.status} ")

    def reason(self, code: str, hint: str, message: str | None = None) -> Reason:
        """Return a reason with this code and hint; its message is `message`, or by default the `sentence`."""
        return Reason(code, self.sentence if message is None else message, hint, self.status)

    def reject(self, code: str, hint: str, message: str | None = None) -> Rejected:
        """Return the outcome of a command that will never be done. `message` None: `sentence`, here and below."""
        return Rejected(self.reason(code, hint, message), self.text)

    def deny(self, code: str, hint: str, message: str | None = None) -> Denied:
        """Return the outcome of a refusal that may concern the broker's login; the probe decides whether it does."""
        is_proof = (self.is_own and self.body is not None) or self.status in (401, 403)
        return Denied(self.reason(code, hint, message), self.text, ran="no" if is_proof else "unlikely")

    def uncertain(self, code: str, hint: str, message: str | None = None, *, by_gateway: bool = False) -> Uncertain:
        """Return the outcome of a command that may have run; `by_gateway`: what answered may not be the server."""
        words = f"{self.sentence} It may have run." if message is None else message
        return Uncertain(self.reason(code, hint, words), by_gateway=by_gateway)

    def defer(
        self, code: str, hint: str, message: str | None = None, *, waits: bool = False, **how: Unpack[Deferral]
    ) -> Deferred:
        """Return the outcome of a command that is not done now.

        `waits`: the next try is after the answer's Retry-After, if it has one. `how`: fields of the `Deferred`.
        """
        wait_s = retry_after_s(self.response, self.now_s) if waits else None
        return Deferred(self.reason(code, hint, message), wait_s, text=self.text, **how)

    def deliver_already_done(self, call: Call, spec: CommandSpec | None, note: str = "already done") -> Delivered:
        """Return the outcome of a command that an earlier try had done; `note` says so.

        Its producer gets the answer with only the secrets masked.
        """
        secrets = redact.secret_values(spec, call.command.arguments, with_texts=False)
        shown = mask_response(self.response, hiding.spellings_of(secrets) | self._form.secrets)
        body = None if self.body is None else parse_json(shown.text.encode())
        return Delivered(shown.text, body, self.status, note=note)


def read(
    form: AnswerForm, response: Response, secrets: Iterable[hiding.Secret] = (), now_s: float = 0.0, body: Json = None
) -> Answer:
    """Return the answer in this response, with these secrets and the login masked wherever the server repeats them."""
    shown = mask_response(response, hiding.spellings_of(secrets) | form.secrets)
    words = shown.hide(form.parse(response, shown.text)[1])
    # What decides the job's fate is read as it came: no secret that looks like it may change that.
    code, raw = form.parse(response, response.body[: hiding.START_LIMIT].decode("utf-8", "replace"))
    return Answer(
        response=response,
        masked_text=shown,
        message=words,
        code=code,
        raw_message=" ".join(raw[: hiding.START_LIMIT].split())[:WORDS_LIMIT],
        now_s=now_s,
        form=form,
        body=body,
        is_own=form.is_own(response),
    )


def read_for(form: AnswerForm, call: Call, spec: CommandSpec | None, response: Response, now_s: float) -> Answer:
    """Return the answer to a call, with the secrets of the call and the login masked."""
    return read(form, response, redact.secret_values(spec, call.command.arguments), now_s)


def deliver_as_is(response: Response, body: Json = None) -> Delivered:
    """Return the outcome of a success, with the unmasked answer for the producer; `body` is the parsed answer."""
    return Delivered(text_of(response.body), body, response.status, note=response.note)
