"""MongooseIM's event pusher for Amazon SNS (`mod_event_pusher.sns`), as 6.8 was seen to publish to another host.

Always holds: who publishes does not wait; the receiver's certificate is verified; what is not answered with a 200 is
signed and posted again, each time after about twice as long, and dropped after the last try.
"""

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import attrs

from tests.support.aws_signing import signed_headers

_TOPICS: Final = {
    "presence": "user_presence_updated",
    "chat": "user_message_sent",
    "groupchat": "user_messagegroup_sent",
}


@attrs.define(eq=False)
class SnsPusher:
    """Publishes to `host` (a name, or `name:port`) with certificates that `trust` signed.

    `statuses` has that of each try, None where none came; `dropped` what was given up.
    """

    host: str
    access_key: str
    secret: str
    trust: str
    topics: Mapping[str, str] = attrs.field(factory=_TOPICS.copy)
    region: str = "eu-west-1"
    account: str = "251423380551"
    retry_count: int = 2
    retry_time_ms: int = 50
    timeout_s: float = 10.0
    statuses: list[int | None] = attrs.field(factory=list)
    dropped: list[Mapping[str, Any]] = attrs.field(factory=list)
    _threads: list[threading.Thread] = attrs.field(factory=list)
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.wait()

    def publish(self, kind: str, content: Mapping[str, Any]) -> None:
        """In a thread of its own; returns at once. JIDs are bare there, and keep their domain."""
        thread = threading.Thread(target=self._publish, args=(kind, content), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, timeout_s: float = 30.0) -> None:
        for thread in list(self._threads):
            thread.join(timeout_s)

    def _publish(self, kind: str, content: Mapping[str, Any]) -> None:
        fields = {
            "Action": "Publish",
            "Version": "2010-03-31",
            "TopicArn": f"arn:aws:sns:{self.region}:{self.account}:{self.topics[kind]}",
            "MessageStructure": "json",
            "Message": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        body = urlencode(fields, quote_via=quote, safe="").encode()
        for number in range(self.retry_count + 1):
            status = self._status(body)
            self.statuses.append(status)
            if status == 200:
                return
            if self._ended.wait(2**number * self.retry_time_ms / 1000):
                break
        self.dropped.append(content)

    def _status(self, body: bytes) -> int | None:
        headers = signed_headers(f"https://{self.host}/", body, name=self.access_key, secret=self.secret, erlcloud=True)
        context = ssl.create_default_context(cafile=self.trust)
        line = http.client.HTTPSConnection(self.host, timeout=self.timeout_s, context=context)
        try:
            line.request("POST", "/", body, headers)
            answer = line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        else:
            return answer.status
        finally:
            line.close()
