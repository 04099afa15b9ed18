"""What the codes of jobs mean, and those of targets that get none. docs/producers.md has these tables.

Always holds: a row is the page's; its texts may have Markdown, with links as from `docs`.
"""

from typing import Final

from restbroker.console.codes.table import Row, Table

PARKED: Final = Table(
    "a job that was parked",
    "docs/producers.md",
    "### Parked at once",
    {
        "UnreadablePayload": Row(
            "No JSON object, not UTF-8, or something that Ruby cannot read. Wrapped as class `Restbroker::Unreadable`.",
            "Push a Sidekiq job.",
        ),
        "PayloadTooLarge": Row("More than 1 MiB. Wrapped as class `Restbroker::Unreadable`.", "Send less in one job."),
        "BadArguments": Row(
            "`args` or its second element has no known form.",
            "Push `args` as `[command, arguments, token]`, with a reply id behind them if wanted.",
        ),
        "BadEndpoint": Row("The first element is no plain command name.", "Name the command alone."),
        "BadReplyId": Row(
            "The reply id is neither text nor number.",
            "Push it with a text or a number as its reply id, or without one.",
        ),
        "BadToken": Row(
            "The third element is no token of the configuration.",
            "Push it with a token of the configuration (`restbroker token list`).",
        ),
        "BadSignature": Row(
            "The signature fits no job like this, was made with an unknown secret, or is for another queue.",
            "See [signed jobs](tokens.md#signed-jobs); where [restbroker put it there](tokens.md#what-others-can-see), put the token back.",
        ),
        "UntimelySignature": Row(
            "The signature is older than the token's `Window`, or for a later time.",
            "Sign anew, or put the token back where [restbroker put the signature there](tokens.md#what-others-can-see).",
        ),
        "SignatureNeeded": Row(
            "The token takes signed jobs only, and the job carries its secret; or its signature must cover the queue, and does not.",
            "Sign the job, with its queue where that is demanded; change the secret.",
        ),
        "CommandNotAllowed": Row(
            "The token's `Allow` does not have the command.", "Extend `Allow`, or push with another token."
        ),
        "DangerousCommand": Row(
            "The command touches the server itself, and the token does not allow that.",
            "Add `dangerous:NAME` to `Allow`.",
        ),
        "HostNotAllowed": Row(
            "The token is bound to other hosts, or it cannot be told which host it is.", "See [hosts](tokens.md#hosts)."
        ),
        "TargetNotAllowed": Row(
            "The token is not for jobs of this target.", "Push with another token, or extend its `Targets`."
        ),
        "QueueNotAllowed": Row(
            "The token is not for jobs in the queue that the job was taken from.",
            "Push with another token, or extend its `Queues`.",
        ),
        "BadArgument": Row(
            "The server does not like an argument: missing, unknown, wrong type, malformed.", "Correct the arguments."
        ),
        "UnknownCommand": Row(
            "The server has no such command, or the module that brings it is not loaded.",
            "Check the name, the server's version, and that the module that brings it is loaded.",
        ),
        "UnknownHost": Row(
            "The server has no such virtual host.", "Correct `host`, or add it to the server's virtual hosts."
        ),
        "NotFound": Row("User, room or session does not exist.", "Check the name, or create it first."),
        "AlreadyExists": Row("It is there already.", "Nothing, or push with `ok_if_exists`."),
        "StanzaRefused": Row(
            "Prosody: the answer to a stanza is an XMPP error of type `cancel`, `modify` or `auth`.",
            "See [prosody.md](servers/prosody.md); the message has the condition.",
        ),
        "BadRoster": Row(
            "Rosters: a user or contact that Prosody would choke on; the message names it.", "Correct it."
        ),
        "RosterTooLarge": Row("Rosters: the user would have too many contacts, or bytes.", "Remove others first."),
        "NoRefreshTarget": Row(
            "Rosters: a refresh was pushed to a target with `WritesOnly`, and no other refreshes.",
            "See [while Prosody is down](roster-refresh.md#while-prosody-is-down).",
        ),
        "RefreshRefused": Row(
            "Rosters: Prosody could not read a list of one name.", "That should not happen: see Prosody's log."
        ),
        "CommandFailed": Row("200, but the result says that it failed.", "See the server's log, or its answer."),
        "CommandForbidden": Row(
            "403 for this command, while others are allowed; MongooseIM: 401 for this operation.",
            "Have the server allow it to the login (ejabberd: `api_permissions`, and from 26.07 on `configure` for the host); of a domain admin: correct the domain.",
        ),
        "BadRequest": Row(
            'Only "400 Bad Request". It may have run (ejabberd 24.12, interface version 0).', "Look at the server."
        ),
        "UserLoginRefused": Row(
            "Openfire's Chat API: the user whom a command acts as could not be logged in.",
            "Check that he exists, and his password (`PasswordsFile`, or the job's own).",
        ),
        "NotAdministrator": Row(
            "Openfire's Chat API: the user would act without a name, since the target's login is no administrator's.",
            "Give `Auth` of an administrator, or the user's password (`PasswordsFile`).",
        ),
        "JoinRefused": Row(
            "Openfire's Chat API: the room did not let the user in, and nothing was said there.",
            "Look at the room: members only, a ban, a password, a presence that it tells nobody (`broadcastPresenceRoles`). `update_room` it or `add_room_member`, then push the job again.",
        ),
        "NotInRoom": Row(
            "Openfire's Chat API with `JoinRooms` off: a room refused the user or may have had him leave, or he left it; Openfire would answer 200, and nobody would hear it.",
            "Push a `join_room` first, or switch `JoinRooms` on.",
        ),
        "UserLoggedIn": Row(
            "Openfire's Chat API: `ask` or `request_upload_slot` for a name that is logged in. It was not sent: after it nobody would get a new stream of events until Openfire's restart.",
            "Ask under another name, or log the user off first (`chat_logoff`).",
        ),
        "UserAsks": Row(
            "Openfire's Chat API: a login of a name that asks a question, or asked for an upload that failed. It was not sent, for the same reason.",
            "Use another name, or take the question back (`ask_revoke`).",
        ),
        "NoSuchRoom": Row(
            "Openfire's Chat API: the room is not there. It was not joined, since Openfire would have made one that nobody else can enter.",
            "Create it (`create_room`), or correct its name.",
        ),
        "OfferGone": Row(
            "Openfire's Chat API: the offer was revoked, its expert was logged in anew, or an earlier try took it whose answer was lost.",
            "Wait for another offer; the message says if an earlier try may have done it.",
        ),
        "NobodyAccepted": Row(
            "Openfire's Chat API: no agent took the question in time.",
            "Ask again, or take it back (`ask_revoke`): it may still wait.",
        ),
        "WorkgroupOffline": Row(
            "Openfire's Chat API: nobody of the workgroup is there to be asked.", "Ask again when somebody is."
        ),
        "NoSuchWorkgroup": Row(
            "Openfire's Chat API: the workgroup that is asked does not exist.", "Create it, or correct its name."
        ),
        "CallFailed": Row(
            "Openfire's Chat API: the call was not made.", "Check the user's telephone, and the destination."
        ),
        "Refused": Row("Another refusal of the server; the message has its words.", "Correct the arguments."),
        "NotTheApi": Row(
            "Status 200 with a page that is no JSON.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "OddAnswer": Row(
            "A status that HTTP does not know.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "UnsendableRequest": Row("The job's own values make a request that HTTP forbids.", "Correct the job."),
        "Cancelled": Row(
            "Somebody cancelled it while it was in hand; the message says whether it may have run.",
            "If it may, look at the server. A retry sends it again.",
        ),
        "Killed": Row(
            "An operator put it into the dead set (`kill`) before it had failed; `restbroker audit` says who, and why.",
            "Retry it when it is wanted again.",
        ),
        "Poison": Row(
            "Processes died again and again while this job was in hand, at last three times with no other job beside it.",
            "Look at the logs of these times. A retry sends it again, alone.",
        ),
        "ReplyRefused": Row(
            "The server did it, but Redis refuses the answer.",
            "Look at the key of the response queue. A retry sends the command again.",
        ),
    },
)
TRIED_AGAIN: Final = Table(
    "a job that is tried again",
    "docs/producers.md",
    "### Tried again, parked when the tries are used up",
    {
        "ServerError": Row(
            "5xx. With `internal_error`, or of Openfire a 500, at most 3 executions: it means wrong arguments as often as a passing trouble.",
            "See the server's log.",
        ),
        "StanzaPutOff": Row(
            "Prosody: the answer to a stanza is an XMPP error of type `wait`.", "Nothing, or look at who is addressed."
        ),
        "Redirected": Row(
            "Openfire: its login page answers; at most 5 executions.",
            "Nothing while it starts; else see [openfire.md](servers/openfire.md#outcomes).",
        ),
        "StanzaUnanswered": Row(
            "Prosody: nobody answered an iq in time.",
            "Look at who is addressed; [more time](servers/prosody.md#outcomes).",
        ),
        "RefreshFailed": Row(
            "Rosters: Prosody got no roster of the user whom the message names.",
            "See what the roster service answers for him, and its log.",
        ),
        "RefreshUnanswered": Row(
            "Rosters: Prosody does not answer the refresh of that user, while it answers all else.",
            "See what the roster service answers for him: that it is a valid roster, and how soon it comes.",
        ),
        "NoSuchContact": Row(
            "Rosters: who is to be renamed is no contact; at most 3 executions, as the job that adds him may be on its way.",
            "Add the contact first.",
        ),
        "LoginNotShared": Row(
            "Openfire's Chat API: Redis refuses what is noted of a login.",
            "See the message, and this Redis user's rights.",
        ),
        "RosterRefused": Row("Rosters: Redis refuses it.", "See the message, and this Redis user's rights."),
        "NotTheModule": Row(
            "Rosters: what answers is no roster module. The target is paused meanwhile.", "Check the target's URL."
        ),
        "TimedOut": Row(
            "Sent, and no whole answer within `RequestTimeout`.",
            "The server hangs or has too much to do: look at its load and log. What became of the job: `restbroker explain JID`.",
        ),
        "ConnectionLost": Row(
            "Sent, and the connection broke.",
            "Look at the log of the server, and of what is before it. What became of the job: `restbroker explain JID`.",
        ),
        "GatewayTimeout": Row(
            "504 of a proxy: it may have run.", "Give the proxy a longer time-out than restbroker's."
        ),
        "AskUnanswered": Row(
            "Openfire's Chat API: a question was sent, and the answer did not come, or restbroker had to stop, or died, before it came. It is not asked again by itself.",
            "`ask_status` tells whether it waits, `ask_revoke` takes it back; a retry asks once more.",
        ),
        "CutOff": Row(
            "Sent, and restbroker had to stop before the answer; it is not safe to repeat, or restbroker failed.",
            "Look at the server.",
        ),
        "Uncertain": Row(
            "Sent so often without an answer that it is not sent again.",
            "Look at the server; if it was not done, retry it: the count begins anew.",
        ),
        "Bug": Row(
            "restbroker itself failed over this job: in the connector (at most 3 executions), or elsewhere (parked at once, as it came).",
            "Report it.",
        ),
    },
)
DEFERRED: Final = Table(
    "a job that was put off",
    "docs/producers.md",
    "### Put off without using up a try",
    {
        "SlotsFull": Row(
            "As many of this command as `Slots` allows were on their way, and many waited.",
            "Nothing: it waits some seconds, each time twice as long, up to a minute; it uses up no try, however often that is.",
        ),
        "ServerStopping": Row("ejabberd refused it while it was stopping or starting.", "Nothing."),
        "DatabaseAway": Row(
            "MongooseIM answers, and what it has in its database it cannot tell. The target is paused until it can.",
            "See its log, and its database; [mongooseim.md](servers/mongooseim.md#outcomes).",
        ),
        "ServerBusy": Row("408, 425, 429 or 503.", "Nothing, or lower `Concurrency`."),
    },
)
NO_JOBS: Final = Table(
    "a target that gets no jobs",
    "docs/producers.md",
    "### Why a target gets no jobs",
    {
        "Starting": Row("The target was not asked yet.", "Nothing."),
        "TargetUnreachable": Row(
            "No connection: refused, name unknown, timed out.",
            "Start the server, or correct the target's URL (`RestURL`; in `Targets`, `URL`).",
        ),
        "SecretUnusable": Row(
            "A file with the login, or with what a header or a signature needs, cannot be read, or holds nothing of use.",
            "Mend the file: it is read anew for each request.",
        ),
        "TlsRefused": Row("Its certificate is not accepted.", "Correct the certificate or the host name."),
        "TargetUnwell": Row("It answers, but it does not work.", "See its log."),
        "TargetDenied": Row(
            "The probe is refused.",
            "Correct the target's login or URL, or what the server allows that login, as the log says; `restbroker check` names the key.",
        ),
        "PluginDisabled": Row("Openfire: 403, so that its plugin is switched off.", "Switch it on."),
        "LoginRefused": Row(
            "401.",
            "Correct the target's login or URL, or what the server allows that login, as the log says; `restbroker check` names the key.",
        ),
        "ModuleMissing": Row(
            "Rosters: 404, so that the module is not loaded, or Prosody looks for another host.",
            "Load it, or correct `HostHeader` and the URL.",
        ),
        "NoToken": Row(
            "ejabberd issues no token, and Basic is not to be used.",
            "Have it issue tokens, as the log says, or let `RestAuth` be `auto` or `basic`.",
        ),
        "Redirected": Row(
            "It redirects; restbroker never follows.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
        "WrongUrl": Row(
            "404 with a page that is not of the API.", "Correct the target's URL (`RestURL`; in `Targets`, `URL`)."
        ),
    },
)
TABLES: Final = (
    PARKED,
    TRIED_AGAIN,
    DEFERRED,
    NO_JOBS,
)
