-- A stand-in for mod_http_admin_api, which Debian does not package: users, invites and announcements over HTTP, under
-- /admin_api. Loaded by tests/support/prosody.py. Written from what the original was seen to do under Prosody 0.12.3, not
-- from its code; the members of the documents are assumed, since only statuses were noted.

local array = require "util.array";
local json = require "util.json";
local jid = require "util.jid";
local st = require "util.stanza";
local usermanager = require "core.usermanager";

local host = module.host;
local scope = "prosody:scope:admin";

-- The status of a token that will not do.
local function refused(request)
	local token = (request.headers.authorization or ""):match("^Bearer%s+(.*)$");
	local info = token and module:depends("tokenauth").get_token_info(token);
	if not info then return 401; end
	return info.session.auth_scope ~= scope and 403;
end

local function as_json(document)
	return { status_code = 200, headers = { content_type = "application/json" }, body = json.encode(document) };
end

local function describe(username)
	return { username = username, jid = jid.join(username, host) };
end

local function list_users()
	local found = array();
	for username in usermanager.users(host) do found[#found + 1] = describe(username); end
	return as_json(found);
end

local function get_user(_, username)
	if not usermanager.user_exists(username, host) then return 404; end
	return as_json(describe(username));
end

local function delete_user(_, username)
	usermanager.delete_user(username, host);
	return 200; -- for somebody who does not exist as well
end

local function server_info()
	return as_json({ site_name = host, version = prosody.version });
end

local function server_metrics()
	local sessions = 0;
	for _ in pairs(prosody.full_sessions) do sessions = sessions + 1; end
	return as_json({ users = { active_1d = 0 }, c2s = sessions });
end

local function list_invites()
	local found = array();
	for _, invite in module:depends("invites").pending_account_invites() do
		found[#found + 1] = { id = invite.token, uri = invite.uri };
	end
	return as_json(found);
end

local function invite(event)
	local wanted = #event.request.body > 0 and json.decode(event.request.body) or {};
	if type(wanted) ~= "table" then return 400; end
	local made = module:depends("invites").create_account(wanted.username, nil, wanted.ttl);
	return as_json({ id = made.token, type = made.type, uri = made.uri, jid = made.jid, expires = made.expires });
end

local function announce(event)
	local wanted = json.decode(event.request.body);
	if type(wanted) ~= "table" or type(wanted.body) ~= "string" then return 400; end
	for username in pairs(prosody.hosts[host].sessions) do
		local to = jid.join(username, host);
		module:send(st.message({ to = to, from = host, type = "headline" }, wanted.body));
	end
	return 201;
end

local function guarded(act)
	return function (event, path)
		return refused(event.request) or act(event, path);
	end;
end

module:depends("http");
module:provides("http", {
	route = {
		["GET /users"] = guarded(list_users);
		["GET /users/*"] = guarded(get_user);
		["DELETE /users/*"] = guarded(delete_user);
		["GET /server/info"] = guarded(server_info);
		["GET /server/metrics"] = guarded(server_metrics);
		["GET /invites"] = guarded(list_invites);
		["POST /invites/account"] = guarded(invite);
		["POST /server/announcement"] = guarded(announce);
	};
});
