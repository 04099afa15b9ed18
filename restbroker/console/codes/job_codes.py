"""What the codes of jobs mean, and those of targets that get no jobs; docs/producers.md has these tables.

Always holds: a row is that of the page; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

PARKED: Final = Table(
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
            "Push `args` as `[command, arguments, token]`, followed by a reply id if you want an answer.",
        ),
        "BadEndpoint": Row("The first element is not a plain command name.", "Name the command alone."),
        "BadReplyId": Row(
            "The reply id is neither a text nor a number.",
            "Push it with a text or a number as the reply id, or without one.",
        ),
        "BadToken": Row(
            "The third element is not a token of the configuration.",
            "Push it with a token of the configuration (`restbroker token list`).",
        ),
        "BadSignature": Row(
            "The signature does not match this job, was made with an unknown secret, or is for another queue.",
            "See [signed jobs](tokens.md#signed-jobs); where [restbroker put it there](tokens.md#what-others-can-see), put the token back.",
        ),
        "UntimelySignature": Row(
            "The signature is older than the token's `Window`, or from the future.",
            "Sign again, or put the token back where [restbroker put the signature "
            "there](tokens.md#what-others-can-see).",
        ),
        "SignatureNeeded": Row(
            "The token accepts only signed jobs, and this job carries its secret; or its signature must cover "
            "the queue, and does not.",
            "Sign the job, with its queue if required; change the secret.",
        ),
        "CommandNotAllowed": Row(
            "The token's `Allow` does not contain the command.", "Extend `Allow`, or push with another token."
        ),
        "DangerousCommand": Row(
            "The command controls the server itself, and the token does not allow that.",
            "Add `dangerous:NAME` to `Allow`.",
        ),
        "HostNotAllowed": Row(
            "The token is bound to other hosts, or the job's host is unclear.", "See [hosts](tokens.md#hosts)."
        ),
        "TargetNotAllowed": Row(
            "The token is not for jobs of this target.", "Push with another token, or extend its `Targets`."
        ),
        "QueueNotAllowed": Row(
            "The token is not for jobs in the queue that the job was taken from.",
            "Push with another token, or extend its `Queues`.",
        ),
        "BadArgument": Row(
            "An argument is missing, unknown, of the wrong type or malformed.", "Correct the arguments."
        ),
        "UnknownCommand": Row(
            "The server has no such command, or its module is not loaded.",
            "Check the name, the server's version, and that its module is loaded.",
        ),
        "UnknownHost": Row(
            "The server has no such virtual host.", "Correct `host`, or add it to the server's virtual hosts."
        ),
        "NotFound": Row("The user, room or session does not exist.", "Check the name, or create it first."),
        "AlreadyExists": Row("It exists already.", "Nothing, or push with `ok_if_exists`."),
        "StanzaRefused": Row(
            "Prosody: the answer to a stanza is an XMPP error of type `cancel`, `modify` or `auth`.",
            "See [prosody.md](servers/prosody.md); the message has the condition.",
        ),
        "BadRoster": Row("Rosters: Prosody cannot read a user or contact, which the message names.", "Correct it."),
        "RosterTooLarge": Row("Rosters: the user would have too many contacts, or bytes.", "Remove others first."),
        "NoRefreshTarget": Row(
            "Rosters: a refresh was pushed to a target with `WritesOnly`, and no other target refreshes.",
            "See [while Prosody is down](roster-refresh.md#while-prosody-is-down).",
        ),
        "RefreshRefused": Row(
            "Rosters: Prosody could not read a list of one name.", "This should not happen: see Prosody's log."
        ),
        "CommandFailed": Row("Status 200, but the result says that it failed.", "See the server's log, or its answer."),
        "CommandForbidden": Row(
            "Status 403 for this command, while others are allowed; MongooseIM: 401 for this operation.",
            "Allow the login to use it on the server (ejabberd: `api_permissions`, and from 26.07 on "
            "`configure` for the host); for a domain admin: correct the domain.",
        ),
        "BadRequest": Row(
            'Only "400 Bad Request". It may have run (ejabberd 24.12, interface version 0).', "Look at the server."
        ),
        "UserLoginRefused": Row(
            "Openfire's Chat API: the user that the command acts as could not log in.",
            "Check that the user exists, and their password (`PasswordsFile`, or the job's own).",
        ),
        "NotAdministrator": Row(
            "Openfire's Chat API: the user would act without a name, since the target's login is not an "
            "administrator's.",
            "Set `Auth` to an administrator's login, or give the user's password (`PasswordsFile`).",
        ),
        "JoinRefused": Row(
            "Openfire's Chat API: the room did not let the user in, and no message was sent.",
            "Check the room: members only, a ban, a password, a presence that it does not broadcast "
            "(`broadcastPresenceRoles`). `update_room` it or `add_room_member`, then push the job again.",
        ),
        "NotInRoom": Row(
            "Openfire's Chat API with `JoinRooms` off: a room refused or removed the user, or they left it; "
            "Openfire would answer 200, and no one would receive it.",
            "Push a `join_room` first, or switch `JoinRooms` on.",
        ),
        "UserLoggedIn": Row(
            "Openfire's Chat API: `ask` or `request_upload_slot` for a name that is logged in. It was not "
            "sent: it would stop all new streams of events until Openfire restarts.",
            "Use another name, or log the user off first (`chat_logoff`).",
        ),
        "UserAsks": Row(
            "Openfire's Chat API: a login of a name that is asking a question, or whose upload failed. It was "
            "not sent, for the same reason.",
            "Use another name, or withdraw the question (`ask_revoke`).",
        ),
        "NoSuchRoom": Row(
            "Openfire's Chat API: the room does not exist. It was not joined, since Openfire would create one "
            "that no one else can enter.",
            "Create it (`create_room`), or correct its name.",
        ),
        "OfferGone": Row(
            "Openfire's Chat API: the offer was revoked, its expert logged in again, or an earlier try took it "
            "and its answer was lost.",
            "Wait for another offer; the message says whether an earlier try may have taken it.",
        ),
        "NobodyAccepted": Row(
            "Openfire's Chat API: no agent took the question in time.",
            "Ask again, or withdraw it (`ask_revoke`): it may still be waiting.",
        ),
        "WorkgroupOffline": Row(
            "Openfire's Chat API: no one in the workgroup is available.", "Ask again when someone is."
        ),
        "NoSuchWorkgroup": Row("Openfire's Chat API: the workgroup does not exist.", "Create it, or correct its name."),
        "CallFailed": Row(
            "Openfire's Chat API: the call was not made.", "Check the user's telephone, and the destination."
        ),
        "Refused": Row("Any other refusal of the server; the message quotes it.", "Correct the arguments."),
        "NotTheApi": Row(
            "Status 200 with a page that is not JSON.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "OddAnswer": Row(
            "A status that HTTP does not know.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "UnsendableRequest": Row("The job's values would make a request that HTTP forbids.", "Correct the job."),
        "Cancelled": Row(
            "Someone cancelled it while it was in progress; the message says whether it may have run.",
            "If it may have run, look at the server. A retry sends it again.",
        ),
        "Killed": Row(
            "An operator moved it into the dead set (`kill`) before it failed; `restbroker audit` says who and why.",
            "Retry it when you want it to run.",
        ),
        "Poison": Row(
            "Processes died repeatedly while this job was in progress, the last three times with no other job "
            "beside it.",
            "Look at the logs of those times. A retry sends it again, alone.",
        ),
        "ReplyRefused": Row(
            "The server did it, but Redis refuses to store the answer.",
            "Check the key of the response queue. A retry sends the command again.",
        ),
    },
)
TRIED_AGAIN: Final = Table(
    "a job that is retried",
    "docs/producers.md",
    "### Retried, dead when all tries are used",
    {
        "ServerError": Row(
            "5xx. With `internal_error`, or of Openfire a 500, at most 3 executions: it means wrong arguments "
            "as often as a temporary problem.",
            "Check the server's log.",
        ),
        "StanzaPutOff": Row(
            "Prosody: the answer to a stanza is an XMPP error of type `wait`.", "Nothing, or check the recipient."
        ),
        "Redirected": Row(
            "Openfire: its login page answers; at most 5 executions.",
            "Nothing while it starts; else see [openfire.md](servers/openfire.md#outcomes).",
        ),
        "StanzaUnanswered": Row(
            "Prosody: no one answered an iq in time.",
            "Check the recipient; [more time](servers/prosody.md#outcomes).",
        ),
        "RefreshFailed": Row(
            "Rosters: Prosody got no roster for the user that the message names.",
            "Check the roster service's answer for this user, and its log.",
        ),
        "RefreshUnanswered": Row(
            "Rosters: Prosody does not answer the refresh of that user, but answers everything else.",
            "Check the roster service's answer for this user: is it a valid roster, and fast enough?",
        ),
        "NoSuchContact": Row(
            "Rosters: the user to rename is not a contact; at most 3 executions, as the job that adds the "
            "contact may be on its way.",
            "Add the contact first.",
        ),
        "LoginNotShared": Row(
            "Openfire's Chat API: Redis refuses the record of a login.",
            "See the message, and this Redis user's rights.",
        ),
        "RosterRefused": Row("Rosters: Redis refuses it.", "See the message, and this Redis user's rights."),
        "NotTheModule": Row(
            "Rosters: something else than the roster module answers. The target is paused meanwhile.",
            "Check the target's URL.",
        ),
        "TimedOut": Row(
            "Sent, but no complete answer came within `RequestTimeout`.",
            "The server hangs or is overloaded: check its load and log. `restbroker explain JID` shows what "
            "happened to the job.",
        ),
        "ConnectionLost": Row(
            "Sent, but the connection broke.",
            "Check the log of the server and of any proxy in front. `restbroker explain JID` shows what "
            "happened to the job.",
        ),
        "GatewayTimeout": Row(
            "Status 504 from a proxy: it may have run.", "Give the proxy a longer timeout than restbroker's."
        ),
        "AskUnanswered": Row(
            "Openfire's Chat API: a question was sent, but its answer did not come, or restbroker stopped or "
            "died before it came. It is not asked again automatically.",
            "`ask_status` shows whether it waits, `ask_revoke` withdraws it; a retry asks again.",
        ),
        "CutOff": Row(
            "Sent, but restbroker had to stop before the answer; it is not safe to repeat, or restbroker failed.",
            "Look at the server.",
        ),
        "Uncertain": Row(
            "Sent too often without an answer; it is not sent again.",
            "Look at the server; if it was not done, retry it: the count starts again.",
        ),
        "Bug": Row(
            "restbroker itself failed on this job: in the connector (at most 3 executions), or elsewhere (dead "
            "at once, unchanged).",
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
            "As many jobs of this command as `Slots` allows were in progress, and many waited.",
            "Nothing: it waits some seconds, each time twice as long, up to a minute, and never uses up a try.",
        ),
        "ServerStopping": Row("ejabberd refused it while stopping or starting.", "Nothing."),
        "DatabaseAway": Row(
            "MongooseIM answers but cannot read its database. The target is paused until it can.",
            "See its log and its database; [mongooseim.md](servers/mongooseim.md#outcomes).",
        ),
        "ServerBusy": Row("408, 425, 429 or 503.", "Nothing, or lower `Concurrency`."),
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
            "A file with the login, or with a secret for a header or a signature, cannot be read or has no "
            "usable content.",
            "Fix the file: it is read again for each request.",
        ),
        "TlsRefused": Row("Its certificate is not accepted.", "Correct the certificate or the host name."),
        "TargetUnwell": Row("It answers but does not work.", "See its log."),
        "TargetDenied": Row(
            "The probe is refused.",
            "Correct the target's login or URL, or the login's rights on the server, as the log says; "
            "`restbroker check` names the key.",
        ),
        "PluginDisabled": Row("Openfire: status 403; its plugin is switched off.", "Switch it on."),
        "LoginRefused": Row(
            "401.",
            "Correct the target's login or URL, or the login's rights on the server, as the log says; "
            "`restbroker check` names the key.",
        ),
        "ModuleMissing": Row(
            "Rosters: status 404; the module is not loaded, or Prosody serves another host.",
            "Load it, or correct `HostHeader` and the URL.",
        ),
        "NoToken": Row(
            "ejabberd issues no token, and Basic is not allowed.",
            "Let it issue tokens, as the log says, or set `RestAuth` to `auto` or `basic`.",
        ),
        "Redirected": Row(
            "It redirects; restbroker does not follow redirects.",
            "Correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
        "WrongUrl": Row(
            "Status 404 with a page that is not the API's.",
            "Correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
    },
)
TABLES: Final = (
    PARKED,
    TRIED_AGAIN,
    DEFERRED,
    NO_JOBS,
)
