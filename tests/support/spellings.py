"""How a secret may be written where it leaks. For tests that hunt; independent of the product's own list.

Always holds: a text without any of these has it in no plain, quoted, percent-encoded or base64 form.
"""

import base64
import json
from urllib.parse import quote


def spellings(secret: str) -> set[str]:
    quoted = json.dumps(secret)[1:-1]
    plain = {secret, quoted, json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(quoted)[1:-1]}
    # Behind one, two or no other bytes, without the characters that mix with those of the neighbours.
    coded = {base64.b64encode(b"x" * before + secret.encode()).decode()[before + 2 : -5] for before in range(3)}
    return {*plain, *coded, quote(secret), quote(secret, safe="")}


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    """Which of these secrets, by name, the text shows, and what stands around the first place."""
    shown = []
    for name, secret in secrets.items():
        places = [place for spelling in spellings(secret) if (place := text.find(spelling)) >= 0]
        if places:
            shown.append(f"{name}: …{text[max(0, min(places) - 120) : min(places) + 20]!r}")
    return shown
