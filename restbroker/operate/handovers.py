"""From sources and routes with `Target` and `Command` to the jobs that their events become, as `enqueue` makes them.

Called when a configuration is loaded for `run` and `check`, and by `app` for the jobs. Always holds: target, command,
token and queue come from the configuration alone, an event gives arguments, with `Arguments` only what their templates
take; none of these is `host`, which would choose a header; neither a server nor Redis is used.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Final

import attrs

from restbroker.config.core import Config
from restbroker.config.events import EventSource, Handover, Route, Shape
from restbroker.config.problems import Problems, at
from restbroker.config.secret import Secret
from restbroker.config.tokens import Token
from restbroker.errors import UsageError
from restbroker.job import event_command
from restbroker.job.coerce import coerce
from restbroker.job.command import Command, CommandSpec
from restbroker.job.event import EVENT_MEMBERS
from restbroker.job.event_command import Templates, UnfitEvent
from restbroker.job.json_types import Json
from restbroker.job.template import TemplateText, parse_text
from restbroker.kinds import HTTP
from restbroker.light import define, field, frozen
from restbroker.operate.enqueue import JobRequest, payload
from restbroker.operate.request import WrongMember, blame, fitting, signatures_of, token_for

TOLD: Final = ("text", "code", "subject", "count", "step")
"""The members of what `Tell` tells (`operate.tell`)."""


@frozen
class _Plan:
    """A command, the queue for its jobs, their token, and what fills its `Arguments`: for XMPP, if it `is_message`.

    `is_at_most_once`: its target has it in `AtMostOnce`.
    """

    spec: CommandSpec
    queue: str
    token: Token
    templates: Templates
    is_message: bool
    is_at_most_once: bool


@define(eq=False)
class CommandJobs:
    """Makes the jobs of events that become commands, as `events.deliver.CommandJob`.

    `secret_of` returns the current secret of a token.
    """

    config: Config
    secret_of: Callable[[Token], str] = lambda token: token.secrets[0].reveal()
    _plans: dict[Handover, _Plan] = field(factory=dict)

    def __call__(self, handover: Handover, members: Mapping[str, Json], jid: str, now_s: float, /) -> bytes:
        """Return the job's bytes; raise `UsageError` if it is too large, or has too many values for a signature.

        Raise `UnfitEvent` if the event does not have what its `Arguments` need.
        """
        return payload(self.request(handover, members), jid, now_s)

    def request(self, handover: Handover, members: Mapping[str, Json]) -> JobRequest:
        """Return what the job asks for; raise `UnfitEvent`."""
        plan = self._plans.get(handover)
        if plan is None:
            plan = self._plans[handover] = _plan(self.config, handover)
        arguments = _filled(plan, members) if plan.templates else _taken(plan.spec, members)
        token = attrs.evolve(plan.token, secrets=(Secret(self.secret_of(plan.token)),))
        return JobRequest(handover.command, arguments, plan.queue, token, expire_s=handover.expire_s)

    @property
    def tokens(self) -> list[Token]:
        """The tokens of all such jobs."""
        events = self.config.events
        found = () if events is None else (_plan(self.config, route.handover).token for _, _, route in events.handovers)
        return list({token.name: token for token in found}.values())


def check_handovers(config: Config, problems: Problems) -> None:
    """Add a problem for each that can be no job: its command, arguments or token; note a token that may do more."""
    said = [] if config.events is None else [*config.events.handovers]
    if config.tell is not None:
        own = Route(handover=config.tell, shape=Shape(omit=tuple(EVENT_MEMBERS)))
        said.append(("Tell", EventSource(more_members=TOLD), own))
    for place, source, route in said:
        try:
            plan = _plan(config, route.handover)
            _check_arguments(plan, source, route)
        except WrongMember as wrong:
            problems.refuse(at(place, wrong.member), wrong.text)
            continue
        if place == "Tell" and plan.is_at_most_once:
            problems.refuse("Tell.Command", "is one of AtMostOnce: it would be a dead job if a process is killed.")
        token = plan.token
        if token.allow != (plan.spec.name,) or route.handover.target not in token.targets or not token.signed:
            what = f"The token {token.name} of events that become {plan.spec.name} allows more, or is in each job."
            wanted = f'"Allow": ["{plan.spec.name}"], "Targets": ["{route.handover.target}"], "Signed": true'
            problems.note("TokenTooBroad", what, f"Give them a token of their own: {wanted}.")


def _plan(config: Config, said: Handover) -> _Plan:
    """Return how the events become commands; raise `WrongMember`."""
    target = next((target for target in config.targets if target.name == said.target), None)
    if target is None:
        raise WrongMember("Target", "There is no such target.")
    templates: dict[str, TemplateText | Json] = {}
    for name, value in said.arguments.items():
        with blame(f"Arguments.{name}"):
            templates[name] = parse_text(value) if isinstance(value, str) else value
    texts = {name: text for name, text in templates.items() if isinstance(text, TemplateText)}
    # Which host one names is written in it, whatever is posted.
    sample = {**said.arguments, **{name: text.filled(lambda _: "1") for name, text in texts.items()}}
    with blame("Command", f"`restbroker commands --target {target.name}` lists those that are known."):
        spec = signatures_of(target, None, said.command, any_command=False).spec
    if templates:
        spec, _ = fitting(target, said.command, sample)
    if spec is None:
        raise WrongMember("Command", "Nothing is known of its arguments, some of which a sender would fill.")
    for name, text in texts.items():
        with blame(f"Arguments.{name}"):
            event_command.refuse_foreign(name, text, spec.argument(name))
    queue = target.queues[0]
    token = token_for(config, target, queue, spec, Command(said.command, sample), said.token)
    once = any(fnmatchcase(spec.name, glob) for glob in target.at_most_once)
    return _Plan(spec, queue, token, templates, is_message=target.kind != HTTP, is_at_most_once=once)


def _check_arguments(plan: _Plan, source: EventSource, one: EventSource | Route) -> None:
    members = {one.shape.names.get(member, member) for member in EVENT_MEMBERS if member not in one.shape.omit}
    members |= {*one.shape.fields, *source.more_members}
    verb, needed = "needs", [argument.name for argument in plan.spec.arguments if not argument.optional]
    if plan.templates:
        texts = (text for text in plan.templates.values() if isinstance(text, TemplateText))
        verb, needed = "need", [placeholder.name for text in texts for placeholder in text.placeholders]
    elif "host" in members:
        raise WrongMember("Command", "gets a member host, which would choose the header Host; rename it.")
    if missing := ", ".join(name for name in needed if name not in members):
        text = f"{verb} {missing}, which no event has; events have {', '.join(sorted(members))}."
        raise WrongMember("Arguments" if plan.templates else "Command", text)


def _filled(plan: _Plan, members: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments that the templates make of the event; raise `UnfitEvent`."""
    arguments = event_command.fill(plan.templates, plan.spec, members, is_message=plan.is_message)
    try:
        return coerce(plan.spec, arguments)
    except UsageError:
        raise UnfitEvent(
            f"{plan.spec.name} takes a number or a list for an argument, and the text that was filled in is none."
        ) from None


def _taken(spec: CommandSpec, members: Mapping[str, Json]) -> dict[str, Json]:
    """Return those members that the command takes."""
    # Members of MapByType are in the events of their own types alone.
    needed: dict[str, Json] = {argument.name: None for argument in spec.arguments if not argument.optional}
    given = {**needed, **members}
    return {name: value for name, value in given.items() if _takes(spec, name, value)}


def _takes(spec: CommandSpec, name: str, value: Json) -> bool:
    """Tell whether a member goes into the job: a null, which is no value, only where the command needs one."""
    argument = spec.argument(name)
    return spec.takes_more if argument is None else value is not None or not argument.optional
