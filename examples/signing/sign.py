import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path


def signed(secret, name, jid, endpoint, arguments, reply_id, queue):
    at = int(time.time())
    parts = ["v1q", name, at, jid, endpoint, arguments, reply_id, queue]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"v1q:{name}:{at}:" + hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


secret = Path("app_token").read_text().strip()
jid = secrets.token_hex(12)
arguments = {"user": "bob", "host": "example.org", "nickname": "Bób/Robert"}
token = signed(secret, "app", jid, "set_nickname", arguments, "order-7", "rest")
args = ["set_nickname", arguments, token, "order-7"]
print(json.dumps({"class": "Restbroker", "jid": jid, "queue": "rest", "retry": True, "args": args}))
