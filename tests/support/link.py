"""A link of a connector that sends at once. For tests of connectors without a broker."""

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
