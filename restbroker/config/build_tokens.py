"""Judges `Token` and `Tokens`.

Called by `config.build`. Always holds: no secret belongs to two tokens, or it could not be told whose a job is.
"""

from collections.abc import Iterator

from restbroker.config.keys import Keys
from restbroker.config.objects import TokenKeys
from restbroker.config.review import Review, at
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token

FLAT_TOKEN = "default"  # noqa: S105  a name
_LEAST_SIGNED = 16
_Placed = tuple[str, Secret]


def build_tokens(keys: Keys, review: Review) -> tuple[Token, ...]:
    """Every token, the flat one first."""
    found: list[Token] = []
    placed: list[tuple[_Placed, ...]] = []
    flat = tuple(_flat(keys, review))
    if flat:
        found.append(Token(FLAT_TOKEN, tuple(secret for _, secret in flat), flat=True))
        placed.append(flat)
    for name, written in keys.tokens.items():
        place = at("Tokens", name)
        if name == FLAT_TOKEN and (keys.token or keys.token_file):
            review.refuse(place, "is the name of the token that Token gives; choose another, or take Token out.")
        secrets = tuple(_secrets(written, place, review))
        found.append(_token(name, written, secrets))
        placed.append(secrets)
    _refuse_shared(placed, review)
    return tuple(found)


def _flat(keys: Keys, review: Review) -> Iterator[_Placed]:
    if keys.token is None and keys.token_file is None and keys.tokens:
        return
    token = review.secret("Token", keys.token, keys.token_file)
    if (token is None and keys.token_file is None) or (keys.token is not None and not keys.token.strip()):
        cure = "it is the token that each job must carry (or use TokenFile, or Tokens)."
        review.refuse("Token", f"is missing or empty; {cure}")
    elif token is not None:
        yield "Token", token


def _secrets(written: TokenKeys, place: str, review: Review) -> Iterator[_Placed]:
    """The current secret and the previous one, as far as they can be used."""
    where = at(place, "Secret")
    if (written.secret is None or not written.secret.strip()) and written.secret_file is None:
        review.refuse(where, "is missing or empty; it is what the token's jobs carry or sign with (or use SecretFile).")
    elif (secret := review.secret(where, written.secret, written.secret_file)) is not None:
        yield _long_enough(where, secret, written, review)
    where = at(place, "PreviousSecret")
    if written.previous is not None and not written.previous.strip():
        review.refuse(where, "is empty; take it out.")
    elif (previous := review.secret(where, written.previous, written.previous_file)) is not None:
        yield _long_enough(where, previous, written, review)


def _long_enough(where: str, secret: Secret, written: TokenKeys, review: Review) -> _Placed:
    place = where if secret.path is None else f"{where}File"
    if written.signed and len(secret.reveal()) < _LEAST_SIGNED:
        wanted = f"at least {_LEAST_SIGNED} characters for a token that signs, found fewer"
        review.refuse(place, f"expected {wanted}; who sees a signed job could guess it.")
    return place, secret


def _token(name: str, written: TokenKeys, secrets: tuple[_Placed, ...]) -> Token:
    return Token(
        name=name,
        secrets=tuple(secret for _, secret in secrets),
        allow=written.allow,
        hosts=written.hosts,
        targets=written.targets,
        queues=written.queues,
        signed=bool(written.signed),
        queue_signed=written.signed == "queue",
        window_s=written.window,
    )


def _refuse_shared(placed: list[tuple[_Placed, ...]], review: Review) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for number, secrets in enumerate(placed):
        for place, secret in secrets:
            owner, first = seen.setdefault(secret.reveal(), (number, place))
            if owner != number:
                review.refuse(place, f"is the same secret as {review.named(first)}; each token needs its own.")
