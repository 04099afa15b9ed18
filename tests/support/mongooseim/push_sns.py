"""MongooseIM's event pusher for Amazon SNS (`mod_event_pusher.sns`), as it was seen to publish to another host.

Always holds: whoever publishes does not wait; the receiver's certificate is verified; what is not answered with a 200
is signed and posted again, each time after about twice as long, and dropped after the last try.
"""

import hashlib
import hmac
import http.client
import json
import random
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import quote

import attrs

from tests.support.mongooseim.scalars import Jid
from tests.support.mongooseim.world import Sent

_FORM: Final = "application/x-www-form-urlencoded; charset=utf-8"
_SIGNED: Final = "host;x-amz-content-sha256;x-amz-date"
_REGION: Final = "us-east-1"
"""Of the signature, whatever region is configured; it is that of the topics alone."""


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def signed(host: str, body: bytes, access_key: str, secret: str, at_s: float) -> dict[str, str]:
    moment = datetime.fromtimestamp(at_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{moment}\n"
    request = f"POST\n/\n\n{headers}\n{_SIGNED}\n{digest}"
    scope = f"{moment[:8]}/{_REGION}/sns/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    shown = f"Credential={access_key}/{scope}, SignedHeaders={_SIGNED}, Signature={_hmac(key, text).hex()}"
    return {
        "host": host,
        "authorization": f"AWS4-HMAC-SHA256 {shown}",
        "content-type": _FORM,
        "x-amz-content-sha256": digest,
        "x-amz-date": moment,
    }


@attrs.frozen
class Try:
    """One attempt: when, and the status that came, None where none did."""

    at_s: float
    status: int | None


@attrs.define(eq=False)
class SnsPusher:
    """Publishes to `host` (a name, or `name:port`) with certificates that `trust` signed.

    `tries` are all attempts, in order; `dropped` what was given up.
    """

    host: str
    access_key: str
    secret: str
    trust: str
    topics: Mapping[str, str] = attrs.field(
        factory=lambda: {
            "presence": "user_presence_updated",
            "chat": "user_message_sent",
            "groupchat": "user_messagegroup_sent",
        }
    )
    region: str = "eu-west-1"
    account: str = "251423380551"
    retry_count: int = 2
    retry_time_ms: int = 50
    timeout_s: float = 10.0
    tries: list[Try] = attrs.field(factory=list)
    dropped: list[Mapping[str, Any]] = attrs.field(factory=list)
    _threads: list[threading.Thread] = attrs.field(factory=list)
    _ended: threading.Event = attrs.field(factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.wait()

    def told(self, sent: Sent) -> None:
        """Of a message that somebody sends: JIDs are bare, and keep their domain."""
        if sent.kind in self.topics and sent.kind != "presence":
            ids = {"from_user_id": sent.sender.bare, "to_user_id": sent.receiver.bare}
            self.publish(sent.kind, {**ids, "message": sent.body})

    def presence(self, user: str, *, present: bool) -> None:
        self.publish("presence", {"user_id": Jid.read(user).bare, "present": present})

    def publish(self, kind: str, content: Mapping[str, Any]) -> None:
        """In a thread of its own; returns at once."""
        thread = threading.Thread(target=self._publish, args=(kind, content), daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, timeout_s: float = 30.0) -> None:
        for thread in list(self._threads):
            thread.join(timeout_s)

    def body(self, kind: str, content: Mapping[str, Any]) -> bytes:
        fields = {
            "Action": "Publish",
            "Version": "2010-03-31",
            "TopicArn": f"arn:aws:sns:{self.region}:{self.account}:{self.topics[kind]}",
            "MessageStructure": "json",
            "Message": json.dumps(content, ensure_ascii=False, separators=(",", ":")),
        }
        return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items()).encode()

    def _publish(self, kind: str, content: Mapping[str, Any]) -> None:
        for number in range(self.retry_count + 1):
            if self._tried(self.body(kind, content)) == 200:
                return
            most_ms = 2**number * self.retry_time_ms
            if self._ended.wait(random.uniform(most_ms - self.retry_time_ms, most_ms) / 1000):
                break
        self.dropped.append(content)

    def _tried(self, body: bytes) -> int | None:
        at_s = time.time()
        status = self._status(body, at_s)
        self.tries.append(Try(at_s, status))
        return status

    def _status(self, body: bytes, at_s: float) -> int | None:
        context = ssl.create_default_context(cafile=self.trust)
        line = http.client.HTTPSConnection(self.host, timeout=self.timeout_s, context=context)
        try:
            line.request("POST", "/", body, signed(self.host, body, self.access_key, self.secret, at_s))
            answer = line.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        else:
            return answer.status
        finally:
            line.close()
