"""Links of a connector that send at once, or answer from a script. For tests of connectors without a broker."""

from collections.abc import Iterator

import attrs

from restbroker.transport.message import Request, Response, Transport


@attrs.define(eq=False)
class Direct:
    """`sent` has what was to be an effect, `said` every answer."""

    http: Transport
    sent: list[Request] = attrs.field(factory=list)
    said: list[Response] = attrs.field(factory=list)

    async def ask(self, request: Request) -> Response:
        self.said.append(await self.http.send(request))
        return self.said[-1]

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        self.said.append(await self.http.send(request))
        return self.said[-1]

    async def task(self) -> None:
        pass


@attrs.define(eq=False)
class Scripted:
    """Gives or raises the next of its answers at each request; `log` has how each came, and its path."""

    answers: Iterator[Response | Exception]
    requests: list[Request] = attrs.field(factory=list)
    log: list[str] = attrs.field(factory=list)

    async def ask(self, request: Request) -> Response:
        return self._next("ask", request)

    async def send(self, request: Request) -> Response:
        return self._next("send", request)

    async def task(self) -> None:
        pass

    def _next(self, how: str, request: Request) -> Response:
        self.requests.append(request)
        self.log.append(f"{how} {request.path}")
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer
