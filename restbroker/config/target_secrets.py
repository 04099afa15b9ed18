"""Remove a target's own secrets from texts about it.

Called by everything that reads a server's answer, and by the broker and the check for the texts that a connector makes
of one. Always holds: neither the author of a kind nor a secret that was removed or replaced meanwhile can cause one to
be shown. A part of a path is masked too: a server may repeat no more than the last, which is the secret of most.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Final, TypeVar

from restbroker.config.secret import Secret
from restbroker.config.target import Target
from restbroker.job import hiding

T = TypeVar("T", str, str | None)
_WORD: Final = re.compile(r"[a-z]{0,12}|.{0,5}", re.DOTALL)
"""A part of a path that is no secret, such as `webhooks`."""


def spellings_of(secrets: Iterable[Secret]) -> hiding.Spellings:
    """Return all spellings in which these secrets may occur in a text."""
    return spellings_of_texts(chain.from_iterable([secret.texts() for secret in secrets]))


def spellings_of_texts(texts: Iterable[str]) -> hiding.Spellings:
    """Return all spellings in which these secrets of the configuration may occur in a text."""
    # Each for itself: together a ticket of many kilobytes would be too many characters.
    each = [_spellings_of(text) for text in set(texts)]
    return each[0] if len(each) == 1 else frozenset[hiding.Secret]().union(*each)


def remove_secrets(text: T, target: Target) -> T:
    """Return the whole text without the target's secrets; None if it is None."""
    return text if text is None else hiding.mask_secrets(text, spellings_of(target.all_secrets))


# Made for each refusal, and the same for nearly all: it takes 0.2 ms.
@lru_cache(maxsize=64)
def _spellings_of(text: str) -> hiding.Spellings:
    parts = text.split("/")
    return hiding.spellings_of([text, *(part for part in parts[len(parts) == 1 :] if not _WORD.fullmatch(part))])
