"""The same as httpx_pipeline.py with restbroker's own HTTP client: what the broker around the client costs.

It promises no more than the others: no token, no gate, no retries, no counts, nothing of an answer but its status.
"""

import base64
import json
import os
import sys
from urllib.parse import quote, urlsplit

import trio
from trio_pipeline import CONCURRENCY, run

from restbroker.config.target import Target, Url
from restbroker.transport.client import open_transport
from restbroker.transport.errors import MaybeSent, NotSent
from restbroker.transport.message import Request

TARGET = urlsplit(os.environ["BENCH_TARGET"])
LOGIN = "Basic " + base64.b64encode(b"admin@example.org:bench").decode()
HEADERS = (("Content-Type", "application/json"), ("Authorization", LOGIN))


async def work(client, waiting, done):
    async for raw in waiting:
        command, arguments, *_ = json.loads(raw)["args"]
        body = json.dumps(arguments).encode()
        request = Request("POST", f"{TARGET.path}/{quote(command)}", 10.0, headers=HEADERS, body=body)
        try:
            answer = await client.send(request)
        except (NotSent, MaybeSent) as error:
            sys.stderr.write(f"{error}\n")
        else:
            if answer.status == 200:
                await done.send(raw)
            else:
                sys.stderr.write(f"status {answer.status}\n")


async def main():
    url = Url("http", str(TARGET.hostname), TARGET.port)
    client = open_transport(Target("t", "ejabberd", url, ("rest",), concurrency=CONCURRENCY))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        run(nursery, work, client)


if __name__ == "__main__":
    trio.run(main)
