-- What tests do with a running Prosody, over HTTP on loopback (tests/support/prosody.py): accounts, tokens, a
-- fresh start, and users who are online without a client. Never part of a real configuration.
--
-- It touches nothing of the modules under test, so it serves beside the original ones as well.

local json = require "util.json";
local st = require "util.stanza";
local usermanager = require "core.usermanager";
local sessionmanager = require "core.sessionmanager";

local host = module.host;
local sent = module:shared("sent"); -- stanzas to users without a client: kind to number

local acts = {};

-- { user: password, … }
function acts.register(accounts)
	for username, password in pairs(accounts) do assert(usermanager.create_user(username, password, host)); end
end

-- Ends all sessions, forgets all accounts.
function acts.reset()
	for kind in pairs(sent) do sent[kind] = nil; end
	local open = {};
	for _, user in pairs(prosody.hosts[host].sessions) do
		for _, session in pairs(user.sessions) do open[#open + 1] = session; end
	end
	for _, session in ipairs(open) do session:close(); end
	local names = {};
	for username in usermanager.users(host) do names[#names + 1] = username; end
	for _, username in ipairs(names) do usermanager.delete_user(username, host); end
end

-- { user, scope? }: a bearer token of this account.
function acts.token(wanted)
	local jid = wanted.user.."@"..host;
	local tokenauth = module:depends("tokenauth");
	if tokenauth.create_jid_token then return assert(tokenauth.create_jid_token(jid, jid, wanted.scope)); end
	-- Prosody 13 makes a token of a grant, and knows roles in the place of scopes.
	local role = wanted.scope == "prosody:scope:admin" and "prosody:operator" or "prosody:registered";
	return assert(tokenauth.create_token(jid, assert(tokenauth.create_grant(jid, jid, nil, {})), role, nil, "test"));
end

-- Who is online: user to number of sessions.
function acts.online()
	local found = {};
	for username, user in pairs(prosody.hosts[host].sessions) do
		found[username] = 0;
		for _ in pairs(user.sessions) do found[username] = found[username] + 1; end
	end
	return found;
end

local function note(session, stanza)
	stanza = type(stanza) == "string" and { name = "text", attr = {} } or stanza;
	local kind = stanza.name;
	if stanza.attr.type == "error" then kind = "error"; end
	if kind == "iq" and stanza.attr.type == "set" then kind = "push"; end
	sent[kind] = (sent[kind] or 0) + 1;
	return session and true;
end

-- { users: [user, …] }: each logs in, fetches its roster and sends presence, as a client would, but there is no
-- connection: thousands of them cost little. What is sent to them is counted.
function acts.appear(wanted)
	for _, username in ipairs(wanted.users) do
		local session = { type = "c2s_unauthed", host = host, secure = true, ip = "127.0.0.1", log = function () end };
		session.conn = { ip = function () return "127.0.0.1"; end, close = function () end };
		session.send = function (stanza) return note(session, stanza); end
		session.rawsend = session.send;
		session.close = function () sessionmanager.destroy_session(session); end
		assert(sessionmanager.make_authenticated(session, username));
		assert(sessionmanager.bind_resource(session, "without"));
		prosody.core_process_stanza(session, st.iq({ type = "get", id = "roster" }):query("jabber:iq:roster"));
		prosody.core_process_stanza(session, st.presence());
	end
end

-- What was sent to those who appeared, by kind: push, iq (their rosters), presence, message, error.
function acts.sent()
	return sent;
end

module:depends("http");
module:provides("http", {
	route = {
		["POST /*"] = function (event, name)
			local act = acts[name];
			if not act then return 404; end
			local fine, answer = pcall(act, json.decode(event.request.body));
			event.response.headers.content_type = "application/json";
			if not fine then return { status_code = 500, body = json.encode({ error = tostring(answer) }) }; end
			return json.encode({ answer = answer });
		end;
	};
});
