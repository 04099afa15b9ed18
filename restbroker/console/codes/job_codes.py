"""What the codes of jobs mean, and those of targets that get no jobs; docs/producers.md has these tables.

Always holds: a row is that of the page; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

DEAD: Final = Table(
    "a dead job",
    "docs/producers.md",
    "### Dead at once",
    {
        "UnreadablePayload": Row(
            "Not a JSON object, not UTF-8, or not readable by Ruby. Wrapped as class `Restbroker::Unreadable`.",
            "Push a Sidekiq job.",
        ),
        "PayloadTooLarge": Row("More than 1 MiB. Wrapped as class `Restbroker::Unreadable`.", "Send less in one job."),
        "BadArguments": Row(
            "`args` or its second element has an unknown form.",
            "Push `[command, arguments, token]`, or with a reply id as the fourth element.",
        ),
        "BadEndpoint": Row("The first element is not a plain command name.", "Name the command alone."),
        "BadReplyId": Row(
            "The reply id is neither a string nor a number.",
            "Push a string, a number or none.",
        ),
        "BadIdempotencyKey": Row(
            "`idempotency_key` is not a string of 1 to 256 bytes, or there is no `jid`.", "Push both, or leave it out."
        ),
        "BadExpiry": Row(
            "`expiry` is not a time.", "Push epoch seconds, such as 1790000000.5, `null`, or leave it out."
        ),
        "BadToken": Row(
            "The third element is not a token of the configuration.",
            "Push the job again with a token of the configuration (`Token`, `TokenFile` or `Tokens`).",
        ),
        "BadSignature": Row(
            "The signature is for another job or queue, or was made with an unknown secret.",
            "See [signed jobs](tokens.md#signed-jobs); if it is [restbroker's own](tokens.md#what-others-can-see), "
            "put the token back.",
        ),
        "UntimelySignature": Row(
            "The signature is older than `Window` or from the future, or was accepted over 30 days ago.",
            "Sign again; if it is [restbroker's own](tokens.md#what-others-can-see), put the token back.",
        ),
        "SignatureNeeded": Row(
            "The token accepts only signed jobs, or only signatures that cover the queue.",
            "Sign the job, with its queue if required; change a secret that it carried.",
        ),
        "CommandNotAllowed": Row(
            "The token's `Allow` does not contain the command.", "Extend `Allow`, or push with another token."
        ),
        "DangerousCommand": Row(
            "The token does not allow commands that control the server itself.",
            "Add `dangerous:NAME` to `Allow`.",
        ),
        "HostNotAllowed": Row(
            "The token is bound to other hosts, or the job's host is unclear.", "See [hosts](tokens.md#hosts)."
        ),
        "TargetNotAllowed": Row(
            "The token is not for jobs of this target.", "Push with another token, or extend its `Targets`."
        ),
        "QueueNotAllowed": Row(
            "The token is not for jobs of this queue.",
            "Push with another token, or extend its `Queues`.",
        ),
        "BadArgument": Row(
            "An argument is missing, unknown, of the wrong type or malformed.", "Correct the arguments."
        ),
        "UnknownCommand": Row(
            "The server has no such command, or its module is not loaded.",
            "Check the name, the server's version and its modules.",
        ),
        "UnknownHost": Row("The server has no such virtual host.", "Correct `host`, or add it to the server."),
        "NotFound": Row("The user, room or session does not exist.", "Check the name, or create it first."),
        "AlreadyExists": Row(
            "It exists already.",
            # Word for word as in most messages, so that no page says it twice.
            "Nothing to do, unless you meant another one; "
            '--ok-if-exists (in a job "ok_if_exists": true) makes this count as done.',
        ),
        "StanzaRefused": Row(
            "Prosody: the stanza got an error of type `cancel`, `modify` or `auth`.",
            "The message has the condition; see [prosody.md](servers/prosody.md).",
        ),
        "BadRoster": Row("Rosters: Prosody cannot read the user or contact in the message.", "Correct it."),
        "RosterTooLarge": Row("Rosters: too many contacts, or bytes.", "Remove others first."),
        "NoRefreshTarget": Row(
            "Rosters: a refresh at a target with `WritesOnly`, and no other target refreshes.",
            "See [while Prosody is down](roster-refresh.md#while-prosody-is-down).",
        ),
        "RefreshRefused": Row("Rosters: Prosody could not read the request to refresh one user.", "See Prosody's log."),
        "CommandFailed": Row("Status 200, but the result says that it failed.", "See the server's log, or its answer."),
        "CommandForbidden": Row(
            "Status 403 for this command, while others are allowed; MongooseIM: 401 for this operation.",
            "Allow it to the login (ejabberd: `api_permissions`, from 26.07 on also `configure` for the host); of "
            "a domain admin: correct the domain.",
        ),
        "BadRequest": Row(
            'Only "400 Bad Request". It may have run (ejabberd 24.12, interface version 0).',
            "Check on the server whether it was done.",
        ),
        "UserLoginRefused": Row(
            "Openfire chat: the acting user could not log in.",
            "Check the user and their password (`PasswordsFile`, or the job's own).",
        ),
        "UserLoginShared": Row(
            "Openfire chat: Openfire logs the user in on a stream that is another user's; not sent, as it would go out "
            "under the other's name.",
            "Restart Openfire, and have other programs log users in at other times than restbroker.",
        ),
        "NotAdministrator": Row(
            "Openfire chat: the target's login is not an administrator's, so the user would act without a name.",
            "Give an administrator's login (`Auth`), or the user's password (`PasswordsFile`).",
        ),
        "JoinRefused": Row(
            "Openfire chat: the room did not let the user in; no message was sent.",
            "Check the room: members only, ban, password, `broadcastPresenceRoles`. Use `update_room` or "
            "`add_room_member`, then push the job again.",
        ),
        "NotInRoom": Row(
            "Openfire chat with `JoinRooms` off: the user is not in the room; Openfire would answer 200, and no "
            "one would receive it.",
            "Push `join_room` first, or switch `JoinRooms` on.",
        ),
        "UserLoggedIn": Row(
            "Openfire chat: `ask` for a name that is logged in; not sent, as it would "
            "stop all new streams of events until Openfire restarts.",
            "Use another name, or log the user off first (`chat_logoff`).",
        ),
        "UserAsks": Row(
            "Openfire chat: a login of a name that is asking a question; not sent, as it "
            "would stop all new streams of events.",
            "Use another name, or withdraw the question (`ask_revoke`).",
        ),
        "NoSuchRoom": Row(
            "Openfire chat: the room does not exist; not joined, as Openfire would create one that no one else can "
            "enter.",
            "Create it (`create_room`), or correct its name.",
        ),
        "OfferGone": Row(
            "Openfire chat: the offer was revoked, its expert logged in again, or an earlier try took it without "
            "an answer.",
            "Wait for another offer; the message says whether an earlier try may have it.",
        ),
        "NobodyAccepted": Row(
            "Openfire chat: no agent took the question in time.",
            "Ask again, or withdraw it (`ask_revoke`): it may still be waiting.",
        ),
        "WorkgroupOffline": Row("Openfire chat: no one is available.", "Ask again when someone is."),
        "NoSuchWorkgroup": Row("Openfire chat: the workgroup does not exist.", "Create it, or correct its name."),
        "Refused": Row("Any other refusal of the server; the message quotes it.", "Correct the arguments."),
        "NotTheApi": Row(
            "Status 200 with a page that is not JSON.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "OddAnswer": Row(
            "A status that HTTP does not know.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "UnsendableRequest": Row("HTTP forbids such a request.", "Correct the job."),
        "Cancelled": Row(
            "Cancelled while in progress; the message says whether it may have run.",
            "If it may have run, check on the server. A retry sends it again.",
        ),
        "Expired": Row(
            "It [expired](#expiry) before it was sent, or would have expired before its next try. It is dropped, and dies "
            "only if it may have run or with `OnExpiry` `dead`.",
            "Push it with a later `expiry`; a dead one can be retried.",
        ),
        "Duplicate": Row(
            "Another job has its [`idempotency_key`](#done-once): it was not sent, and does not die.",
            "Nothing, or push it with another key.",
        ),
        "KeyReused": Row(
            "Another command, or the same with other arguments, has its [`idempotency_key`](#done-once): it was not sent.",
            "Push it with a key of its own.",
        ),
        "KeyInUse": Row(
            "A job with the same [`idempotency_key`](#done-once) is tried again first. This one waits, and uses up no try.",
            "Nothing.",
        ),
        "OrderKeyUnclear": Row(
            "Its target has `OrderBy`, and its key cannot be read for sure: no text of 1 to 256 bytes, or odd JSON. It was not "
            "sent.",
            "Give a plain text as the key, and queue it again.",
        ),
        "PredecessorDied": Row(
            "Someone dropped what waited with its key (`order drop`). It was not sent.",
            "Find out what became of the job before it, then retry this one.",
        ),
        "Killed": Row(
            "An operator moved it to the dead set; `restbroker audit` says who and why.",
            "Retry it to run it.",
        ),
        "Poison": Row(
            "Processes died repeatedly while it was in progress, the last three times alone.",
            "Check the logs of these times. A retry sends it again, alone.",
        ),
        "ReplyRefused": Row(
            "The server did it, but Redis refuses to store the answer.",
            "Check the response queue's key. A retry sends the command again.",
        ),
    },
)
TRIED_AGAIN: Final = Table(
    "a job that is retried",
    "docs/producers.md",
    "### Retried, dead when all tries are used",
    {
        "ServerError": Row(
            "5xx; a gateway's may have run. With `internal_error`, or of Openfire a 500, at most 3 tries: often it means wrong arguments.",
            "Check the server's log.",
        ),
        "StanzaPutOff": Row("Prosody: the stanza got an error of type `wait`.", "Nothing, or check the recipient."),
        "Redirected": Row(
            "Openfire: its login page answers; at most 5 tries.",
            "Nothing while it starts, else see [openfire.md](servers/openfire.md#outcomes).",
        ),
        "StanzaUnanswered": Row(
            "Prosody: no one answered an iq in time.",
            "Check the recipient; [more time](servers/prosody.md#outcomes).",
        ),
        "RefreshFailed": Row(
            "Rosters: Prosody got no roster for the user in the message.",
            "Check the roster service's answer, and its log.",
        ),
        "RefreshUnanswered": Row(
            "Rosters: Prosody answers all but the refresh of this user.",
            "Check that the roster service's answer is valid and fast enough.",
        ),
        "NoSuchContact": Row(
            "Rosters: no such contact to rename; at most 3 tries, as the job that adds it may be on its way.",
            "Add the contact first.",
        ),
        "LoginNotShared": Row(
            "Openfire chat: Redis refuses to store a login.",
            "See the message, and this Redis user's rights.",
        ),
        "RosterRefused": Row("Rosters: Redis refuses it.", "See the message, and this Redis user's rights."),
        "NotTheModule": Row(
            "Rosters: something else answers. The target is paused meanwhile.",
            "Check the target's URL.",
        ),
        "TimedOut": Row(
            "Sent, but no complete answer within `RequestTimeout`.",
            "Check the server's load and log. `restbroker explain JID` shows what happened to the job.",
        ),
        "ConnectionLost": Row(
            "Sent, but the connection broke.",
            "Check the logs of the server and of any proxy. `restbroker explain JID` shows what happened to the job.",
        ),
        "GatewayTimeout": Row(
            "Status 504 from a proxy: it may have run.", "Give the proxy a longer timeout than restbroker."
        ),
        "AskUnanswered": Row(
            "Openfire chat: a question was sent, but no answer came while restbroker ran; not asked again "
            "automatically.",
            "`ask_status` shows whether it waits, `ask_revoke` withdraws it, a retry asks again.",
        ),
        "CutOff": Row(
            "Sent, but restbroker stopped before the answer, and it is not safe to repeat; or restbroker failed.",
            "Check on the server whether it was done.",
        ),
        "Uncertain": Row(
            "Sent too often without an answer; it is not sent again.",
            "Check on the server; if it was not done, retry it: the count starts again.",
        ),
        "Bug": Row(
            "restbroker failed: in the connector (at most 3 tries), or elsewhere (dead at once, unchanged).",
            "Report it.",
        ),
    },
)
DEFERRED: Final = Table(
    "a deferred job",
    "docs/producers.md",
    "### Deferred without using up a try",
    {
        "SlotsFull": Row(
            "All `Slots` of this command are taken, and many jobs wait.",
            "Nothing: it waits some seconds, then twice as long, up to a minute, and never uses up a try.",
        ),
        "ClocksDiffer": Row(
            "Signed; restbroker's clock and Redis' differ by more than a minute ([tokens.md](tokens.md#signed-jobs)).",
            "Synchronise them (NTP). It waits as with `SlotsFull`.",
        ),
        "ServerStopping": Row("ejabberd is stopping or starting.", "Nothing."),
        "DatabaseAway": Row(
            "MongooseIM cannot read its database. The target is paused until it can.",
            "See its log and its database; [mongooseim.md](servers/mongooseim.md#outcomes).",
        ),
        "ServerBusy": Row(
            "408, 425, 429, 503, 521, 522, 523, 525 or 526. Under `AtMostOnce` the job is dead.",
            "Nothing, or lower `Concurrency`.",
        ),
    },
)
NO_JOBS: Final = Table(
    "a target that is down",
    "docs/producers.md",
    "### Why a target is down",
    {
        "Starting": Row("The target has not been probed yet.", "Nothing."),
        "TargetUnreachable": Row(
            "No connection: refused, unknown name, or timed out.",
            "Start the server, or correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
        "SecretUnusable": Row(
            "A file with a secret cannot be read or used.",
            "Fix it: it is read for each request.",
        ),
        "TlsRefused": Row("Its certificate is not accepted.", "Correct the certificate or the host name."),
        "TargetUnwell": Row("It answers but does not work.", "See its log."),
        "TargetDenied": Row(
            "The server refuses restbroker's probe: its login is wrong, or lacks a right.",
            "Correct the target's login or URL, or the login's rights on the server; `restbroker check` names the key.",
        ),
        "PluginDisabled": Row("Openfire: 403; its plugin is switched off.", "Switch it on."),
        "LoginRefused": Row(
            "401.",
            "Correct the target's login or URL, or the login's rights on the server; `restbroker check` names the key.",
        ),
        "ModuleMissing": Row(
            "Rosters: 404; the module is not loaded, or Prosody serves another host.",
            "Load it, or correct `HostHeader` and the URL.",
        ),
        "NoToken": Row(
            "ejabberd issues no token, and Basic is not allowed.",
            "Let it issue tokens, as the log says, or set `RestAuth` to `auto` or `basic`.",
        ),
        "Redirected": Row(
            "It redirects, which is not followed.",
            "Correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
        "WrongUrl": Row(
            "Status 404 with a page that is not the API's.",
            "Correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
    },
)
TABLES: Final = (
    DEAD,
    TRIED_AGAIN,
    DEFERRED,
    NO_JOBS,
)
