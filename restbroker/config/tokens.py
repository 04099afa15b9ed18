"""The keys `Token` and `Tokens`: what jobs must carry to be admitted, and what each token allows.

Used by the broker's admission and by the command line. Always holds of loaded ones: each token has at least one secret,
the current one first; no two tokens share a secret, or nothing could tell whose a job is.
"""

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from restbroker.config import forms
from restbroker.config.key import key, secret
from restbroker.config.problems import Problems, at
from restbroker.config.secret import Secret, is_blank, place_of
from restbroker.config.values import DAY_S
from restbroker.light import frozen

FLAT_TOKEN = "default"  # noqa: S105  a name
_LEAST_SIGNED = 16
_MAKER = "restbroker token new --file FILE"
_Placed: TypeAlias = tuple[str, Secret]


@frozen
class Token:
    """One named token; `secrets` has the current secret and, during a rotation, the previous one.

    `hosts` are the virtual hosts that its jobs may name, `targets` and `queues` those that they may be in, all with
    wildcards; empty: any. `signed`: jobs carry a signature made with the secret instead of the secret, at most
    `window_s` seconds old when a broker first sees it. `flat`: it is the `Token` that the Go original reads too, so
    that its jobs stay as that understands them.
    """

    name: str = ""
    secrets: tuple[Secret, ...] = ()
    _current: Secret | None = secret("Secret", mandatory="or SecretFile", kw_only=True)
    """The secret that jobs carry or sign with."""
    _previous: Secret | None = secret("PreviousSecret", kw_only=True)
    """The previous secret, also valid during a rotation."""
    allow: forms.AllowList = key("Allow", default=("*",), shown=["*"])
    """Commands that its jobs may run, with * and ?. "*" excludes those that control the server itself; they need
    "dangerous:TAG" or "dangerous:*"."""
    hosts: forms.Hosts = key("Hosts", default=())
    """Virtual hosts of its jobs, with * and ?; by default any."""
    targets: forms.SomeTargets = key("Targets", default=())
    """Targets of its jobs, with * and ?; by default any."""
    queues: forms.SomeQueues = key("Queues", default=())
    """Queues of its jobs, with * and ?; by default any."""
    signed: forms.Signed = key("Signed", default=False)
    """Jobs carry a signature; the secret never reaches Redis."""
    window_s: forms.Month = key("Window", default=7 * DAY_S, shown="7d")
    """How old a signature may be when a broker first sees it."""
    flat: bool = False

    def check(self, place: str, problems: Problems) -> tuple["Token", list[_Placed]]:
        """Return the token as it is to be used, and each of its secrets behind the place where it stands."""
        where, previous = at(place, "Secret"), at(place, "PreviousSecret")
        if is_blank(self._current):
            why = "the token's jobs carry it or sign with it (or use SecretFile)"
            problems.refuse(where, f"is missing or empty; {why}.")
        if self._previous is not None and is_blank(self._previous):
            problems.refuse(previous, "is empty; remove it.")
        placed: list[_Placed] = []
        for member, written in ((where, self._current), (previous, self._previous)):
            if not is_blank(written) and (tried := problems.try_secret(member, written)) is not None:
                placed.append((place_of(member, tried), tried))
        for member, kept in placed:
            if self.signed and len(kept.reveal()) < _LEAST_SIGNED:
                wanted = f"at least {_LEAST_SIGNED} characters for a token that signs, found fewer"
                problems.refuse(member, f"expected {wanted}; anyone who sees a signed job could guess it.")
        secrets = tuple(kept for _, kept in placed)
        return attrs.evolve(self, secrets=secrets, current=None, previous=None), placed


def check_tokens(flat: Secret | None, tokens: Sequence[Token], problems: Problems) -> tuple[Token, ...]:
    """Return every token as it is to be used, the flat one first; problems go to `problems`."""
    found: list[Token] = []
    placed: list[list[_Placed]] = []
    if (flat is not None or not tokens) and (one := _check_flat(flat, problems)) is not None:
        found.append(Token(FLAT_TOKEN, (one,), flat=True))
        placed.append([("Token", one)])
    for written in tokens:
        place = at("Tokens", written.name)
        if written.name == FLAT_TOKEN and flat is not None:
            problems.refuse(place, "is the name of the token that Token gives; choose another, or remove Token.")
        token, secrets = written.check(place, problems)
        found.append(token)
        placed.append(secrets)
    _refuse_shared(placed, problems)
    return tuple(found)


def _check_flat(written: Secret | None, problems: Problems) -> Secret | None:
    if is_blank(written):
        hint = "it is the token that each job must carry (or use TokenFile, or Tokens)."
        problems.refuse("Token", f"is missing or empty; {hint}")
        return None
    return problems.try_secret("Token", written, maker=_MAKER)


def _refuse_shared(placed: Sequence[Sequence[_Placed]], problems: Problems) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for number, secrets in enumerate(placed):
        for place, known in secrets:
            owner, first = seen.setdefault(known.reveal(), (number, place))
            if owner != number:
                problems.refuse(place, f"is the same secret as {problems.as_written(first)}; each token needs its own.")
