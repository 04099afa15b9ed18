"""Draws the diagrams of the manual, docs/images/*.svg, from the texts below. `make docs` does.

Always holds: a picture needs nothing from elsewhere, follows a dark theme, says in one sentence what it shows, and is
as wide as a phone can show with readable letters. A test compares the files with this, and sees that the texts fit.
"""

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias
from xml.sax.saxutils import escape

from dev.tools.pages import ROOT

FOLDER: Final = ROOT / "docs" / "images"

Kind: TypeAlias = Literal["", "ours", "good", "bad"]
"""What a box stands for: something of the reader's, restbroker, a good end, a bad one."""

WIDTH: Final = 520
"""Of every picture, without its margin: a phone shows it at seven tenths, and letters of 13 pixels at 9."""
_MARGIN: Final = 8
_BOLD_PX: Final = 18
_SMALL_PX: Final = 17

# The colours of the web pages (restbroker/web/static/style.css).
_STYLE: Final = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#4d5761;text-anchor:middle}
.bold{font-size:15px;font-weight:600;fill:#14191e}.ground{fill:#fff}
g rect{fill:#f7f8f9;stroke:#8c959f;rx:8}.ours rect{fill:#e3f2f2;stroke:#0b6e75}
.good rect{fill:#e3f4e9;stroke:#17663a}.bad rect{fill:#fdebea;stroke:#a81c1c}
path{fill:none;stroke:#5a646e;stroke-width:1.5}marker path{fill:#5a646e;stroke:none}
@media screen and (prefers-color-scheme:dark){
text{fill:#aab4bd}.bold{fill:#e5e9ec}.ground{fill:#151a1e}
g rect{fill:#1c2227;stroke:#6e7a84}.ours rect{fill:#12302f;stroke:#5fc9cf}
.good rect{fill:#14301d;stroke:#7fd49b}.bad rect{fill:#3b1817;stroke:#ff9d94}
path{stroke:#9aa5ae}marker path{fill:#9aa5ae}}
"""
_HEAD: Final = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker></defs>'
)


def box(x: int, y: int, width: int, height: int, kind: Kind, *lines: str) -> str:
    """Return a box around its lines: the first is bold."""
    middle = x + width / 2
    first = y + (height - _SMALL_PX * (len(lines) - 1)) / 2 + 5
    texts = "".join(_text(middle, first + _SMALL_PX * at, line, is_bold=at == 0) for at, line in enumerate(lines))
    return f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}"/>{texts}</g>'


def arrow(path: str, x: int = 0, y: int = 0, *lines: str) -> str:
    """Return an arrow along the path, with lines of text, the first of them around x, y."""
    return f'<path d="{path}" marker-end="url(#a)"/>{words(x, y, *lines)}'


def words(x: int, y: int, *lines: str) -> str:
    """Return lines of text, the first of them around x, y."""
    return "".join(_text(x, y + _SMALL_PX * at, line) for at, line in enumerate(lines))


def drawing(height: int, title: str, *parts: str) -> str:
    """Return the picture as a file's text; `title` says what it shows.

    It has a ground of its own: a page may be dark where the system is light, and the other way round.
    """
    said = escape(title, {'"': "&quot;"})
    wide, high = WIDTH + 2 * _MARGIN, height + 2 * _MARGIN
    place = f'x="{-_MARGIN}" y="{-_MARGIN}" width="{wide}" height="{high}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} {-_MARGIN} {wide} {high}" width="{wide}" '
        f'height="{high}" role="img" aria-label="{said}"><title>{said}</title><style>{_STYLE}</style>{_HEAD}\n'
        f'<rect class="ground" {place}/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, line: str, *, is_bold: bool = False) -> str:
    look = ' class="bold"' if is_bold else ""
    return f'<text x="{x:g}" y="{y:g}"{look}>{escape(line)}</text>'


def bridge() -> str:
    """Return what restbroker is."""
    return drawing(
        212,
        "Your app pushes jobs to Redis; restbroker calls the server; answers and events come back as jobs.",
        box(1, 5, 114, 76, "", "your app", "any language"),
        box(195, 5, 120, 76, "", "Redis", "jobs wait here"),
        box(395, 5, 124, 76, "ours", "restbroker"),
        box(195, 145, 324, 64, "", "your server", "ejabberd, Prosody, MongooseIM,", "Openfire, any HTTP API"),
        arrow("M115 30H189", 152, 22, "push"),
        arrow("M315 30H389"),
        arrow("M410 81V139", 386, 117, "HTTP"),
        arrow("M440 145V87", 482, 109, "answers,", "events"),
        arrow("M395 58H321"),
        arrow("M195 58H121", 155, 77, "as jobs"),
    )


def job_states() -> str:
    """Return the life of a job."""
    return drawing(
        372,
        "A job waits in its queue, is being sent, and ends done or dead; or it waits for its next try.",
        box(1, 55, 104, 66, "", "scheduled", "runs later"),
        box(190, 55, 140, 66, "", "queue", "waits for its turn,", "or for the server"),
        box(390, 55, 129, 66, "ours", "in progress", "is being sent"),
        box(190, 185, 140, 60, "", "retries", "waits for its try"),
        box(445, 185, 74, 60, "good", "done", "answered"),
        box(190, 305, 140, 60, "bad", "dead", "you see why"),
        arrow("M105 80H184", 146, 73, "when due"),
        arrow("M330 88H384"),
        arrow("M455 55V27H53V49", 254, 18, "the server says “not now”: uses up no try, up to five times"),
        arrow("M482 121V179"),
        arrow("M400 121V215H336", 364, 172, "failed,", "may pass"),
        arrow("M260 185V127", 222, 158, "when due"),
        arrow("M425 121V335H336", 368, 280, "can never work,", "or no tries left"),
        arrow("M190 335H150V105H184"),
        words(74, 225, "you fix it, and", "send it again"),
    )


def ejabberd_events() -> str:
    """Return how ejabberd's stanzas become jobs."""
    return drawing(
        222,
        "ejabberd copies stanzas to restbroker, which pushes jobs to Redis; your worker's answers go the other way.",
        box(1, 15, 62, 76, "", "users"),
        box(150, 15, 144, 76, "", "ejabberd", "mod_service_log", "copies each stanza"),
        box(370, 15, 149, 76, "ours", "restbroker", "is the component", "events.example.org"),
        box(150, 145, 144, 70, "", "your worker"),
        box(370, 145, 149, 70, "", "Redis", "queues xmpp_events", "and rest"),
        arrow("M63 40H144", 106, 32, "messages"),
        arrow("M150 68H69"),
        arrow("M294 40H364", 331, 32, "copies"),
        arrow("M370 68H300", 333, 87, "HTTP API"),
        arrow("M420 91V139", 395, 121, "events"),
        arrow("M470 145V97", 500, 121, "jobs"),
        arrow("M370 170H300"),
        arrow("M294 195H364", 331, 214, "answers"),
    )


def tokens() -> str:
    """Return who holds which token, and what it allows."""
    return drawing(
        338,
        "restbroker looks at each job's token: if the token allows the job, it is sent; otherwise, and without a right "
        "token, it is dead.",
        box(205, 5, 106, 328, "ours", "restbroker", "looks at each", "job's token"),
        *_pushed(5, "your app", "register", "token app", "good", "done", "app allows it"),
        *_pushed(89, "your app", "ban_account", "token app", "bad", "dead", "CommandNotAllowed"),
        *_pushed(173, "your admin tool", "ban_account", "token admin", "good", "done", "admin allows it"),
        *_pushed(257, "anybody else", "register", "no right token", "bad", "dead", "nothing was sent"),
    )


def _pushed(y: int, holder: str, command: str, token: str, kind: Kind, end: str, why: str) -> Iterator[str]:
    yield box(1, y, 148, 76, "", holder, command, token)
    yield arrow(f"M149 {y + 38}H199")
    yield arrow(f"M311 {y + 38}H359")
    yield box(365, y, 154, 76, kind, end, why)


def breaker() -> str:
    """Return what a breaker does."""
    return drawing(
        262,
        "Five jobs in a row fail to reach the server: it is down and gets no jobs, which wait without using up a try. "
        "A probe each one to two seconds finds it well again.",
        box(1, 40, 136, 84, "good", "up", "the server", "gets jobs"),
        box(370, 40, 149, 84, "bad", "down", "jobs wait, and", "use up no try"),
        box(370, 195, 149, 62, "ours", "probe", "one for all"),
        arrow("M137 62H364", 251, 35, "five jobs in a row unsent", "or unanswered"),
        words(251, 80, "or half of 20 or more answers", "in 10 s are “not now”"),
        arrow("M410 124V189", 364, 152, "every 1 to", "2 seconds"),
        arrow("M485 195V130", 503, 164, "fails"),
        arrow("M370 226H69V130", 219, 217, "goes well: one job first,"),
        words(219, 244, "each success lets two more in"),
    )


def order() -> str:
    """Return what a dead job does to its key under `stop`."""
    return drawing(
        296,
        "A job of the key bob dies: those behind it wait, other keys go on. You retry the dead job, skip it, or drop "
        "those that wait.",
        words(33, 48, "key", "bob"),
        words(33, 133, "key", "ann"),
        box(70, 20, 82, 66, "good", "1", "done"),
        box(192, 20, 82, 66, "bad", "2", "dead"),
        box(314, 20, 82, 66, "", "3", "waits"),
        box(436, 20, 82, 66, "", "4", "waits"),
        arrow("M152 53H186"),
        words(294, 58, "✕"),
        arrow("M396 53H430"),
        box(70, 105, 82, 66, "good", "1", "done"),
        box(192, 105, 82, 66, "good", "2", "done"),
        box(314, 105, 82, 66, "ours", "3", "is sent"),
        box(436, 105, 82, 66, "", "4", "waits"),
        arrow("M152 138H186"),
        arrow("M274 138H308"),
        arrow("M396 138H430"),
        box(1, 215, 166, 74, "", "keys retry bob", "sends 2 again; once", "done, 3 and 4 follow"),
        box(177, 215, 166, 74, "", "keys skip bob", "goes on with 3;", "2 stays dead"),
        box(353, 215, 166, 74, "", "keys drop bob", "3 and 4 die, too;", "the key goes on"),
        words(260, 203, "you choose"),
    )


def processes() -> str:
    """Return what becomes of the jobs of a process that dies."""
    return drawing(
        262,
        "Two processes take jobs from one Redis. One dies: its jobs return to their queues within 25 seconds, and the "
        "other does them.",
        box(1, 90, 104, 82, "", "Redis", "holds all", "jobs"),
        box(205, 10, 130, 72, "bad", "restbroker 1", "dies"),
        box(205, 180, 130, 72, "ours", "restbroker 2", "goes on"),
        box(410, 95, 109, 72, "", "your server"),
        arrow("M53 90V46H199", 126, 38, "jobs"),
        arrow("M335 46H464V89", 394, 38, "✕"),
        words(
            250,
            112,
            "restbroker 2 puts its jobs back into",
            "the queues: within 25 seconds, or",
            "at once on the same host",
        ),
        arrow("M205 200H80V178", 142, 192, "back"),
        arrow("M35 172V232H199", 118, 252, "takes them"),
        arrow("M335 216H464V173"),
    )


def push() -> str:
    """Return how a phone that sleeps gets to know of a message."""
    return drawing(
        262,
        "A message to a user who is away becomes a job; your worker wakes the phone, which logs in and gets it.",
        box(1, 10, 62, 76, "", "ann"),
        box(147, 10, 140, 76, "", "your server", "bob is away:", "keeps the message"),
        box(370, 10, 149, 76, "ours", "restbroker", "is the component", "push.example.org"),
        box(400, 180, 119, 76, "", "Redis", "xmpp_push"),
        box(262, 180, 100, 76, "", "worker", "yours"),
        box(131, 180, 94, 76, "", "FCM", "or APNs"),
        box(1, 180, 92, 76, "good", "phone", "bob's"),
        arrow("M63 48H141", 104, 40, "message"),
        arrow("M287 48H364", 325, 40, "tells it"),
        arrow("M460 86V174", 489, 135, "a job"),
        arrow("M400 218H368"),
        arrow("M262 218H231"),
        arrow("M131 218H99", 115, 210),
        arrow("M47 180V130H217V92"),
        words(132, 148, "logs in, and gets it"),
    )


def drawings() -> dict[str, str]:
    """Return the text of each picture, by the name of its file."""
    return {
        "bridge.svg": bridge(),
        "job-states.svg": job_states(),
        "ejabberd-events.svg": ejabberd_events(),
        "tokens.svg": tokens(),
        "breaker.svg": breaker(),
        "order.svg": order(),
        "processes.svg": processes(),
        "push.svg": push(),
    }


if __name__ == "__main__":
    for name, text in drawings().items():
        (FOLDER / name).write_text(text, "utf-8")
