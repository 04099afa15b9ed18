-- A stand-in for mod_http_roster_admin, which Debian does not package: rosters come from a web service, are pushed to
-- real clients, and are fetched anew when a refresh asks for it. Loaded by tests/support/prosody.py.
--
-- It is written from what the original was seen to do under Prosody 0.12.3 and 13.0.1, not from its code; where nothing
-- was seen, a comment says "assumed".
--
-- Needs in the VirtualHost: modules_disabled = { "roster" }, storage = { roster = "memory" }.

local json = require "util.json";
local st = require "util.stanza";
local http = require "net.http";

local service_url = module:get_option_string("http_roster_url", "http://localhost/%s");
local users = prosody.hosts[module.host].sessions; -- the users who are online

module:add_feature("jabber:iq:roster");

local function has_control_characters(text)
	return text:find("[%z\1-\8\11\12\14-\31]") ~= nil;
end

-- The contact as Prosody keeps it, or nil where this entry breaks what is asked.
local function read_contact(jid, entry)
	if has_control_characters(jid) then return nil; end
	if type(entry) == "string" then entry = {}; end
	if type(entry) ~= "table" or entry == json.null then return nil; end
	local contact = { subscription = "both", groups = {} };
	if entry.name ~= nil then
		if type(entry.name) ~= "string" or has_control_characters(entry.name) then return nil; end
		contact.name = entry.name;
	end
	if entry.groups ~= nil then
		if type(entry.groups) ~= "table" or entry.groups == json.null then return nil; end
		for group in pairs(entry.groups) do
			if type(group) ~= "string" or has_control_characters(group) then return nil; end
			contact.groups[group] = true;
		end
	end
	return contact;
end

-- Contacts by JID, or nil and what is wrong: "bad", "array".
local function read_roster(body)
	local document = json.decode(body);
	if type(document) ~= "table" or document == json.null then return nil, "bad"; end
	if document[1] ~= nil then return nil, "array"; end
	local roster = {};
	for jid, entry in pairs(document) do
		roster[jid] = type(jid) == "string" and read_contact(jid, entry) or nil;
		if not roster[jid] then return nil, "bad"; end
	end
	return roster;
end

-- Asks the service; `done` gets "ok" and the roster, "refused" where it said no, or "bad" or "array".
local function fetch(username, done)
	-- As measured: the name as it is, not percent-encoded; a new connection each time.
	local url = service_url:format(username);
	http.request(url, { headers = { ["ACCEPT"] = "application/json, text/plain, */*" } }, function (body, code)
		if code == 0 then return done("bad"); end
		if code ~= 200 then return done("refused"); end
		local roster, wrong = read_roster(body);
		if roster then return done("ok", roster); end
		done(wrong);
	end);
end

local function push(sessions, jid, contact)
	local query = st.iq({ type = "set", id = "push-"..jid }):query("jabber:iq:roster");
	if contact then
		query:tag("item", { jid = jid, subscription = contact.subscription, name = contact.name });
		for group in pairs(contact.groups) do query:text_tag("group", group); end
	else
		query:tag("item", { jid = jid, subscription = "remove" });
	end
	query:reset();
	for _, session in pairs(sessions) do
		if session.interested then session.send(query); end
	end
end

-- Tells the contact that each session of the user is there, or is gone; false where one has sent no presence yet.
local function tell(sessions, jid, contact)
	local told = true;
	for _, session in pairs(sessions) do
		if session.presence then
			local presence = contact and st.clone(session.presence) or st.presence({ type = "unavailable" });
			presence.attr.from, presence.attr.to = session.full_jid, jid;
			module:send(presence, session);
		else
			told = false;
		end
	end
	return told;
end

-- Only added and removed JIDs count: what else changed of a contact is seen at the next login without other sessions.
local function apply(user, roster)
	local told, changes = true, {};
	for jid, contact in pairs(roster) do
		if not user.roster[jid] then changes[jid] = contact; end
	end
	for jid in pairs(user.roster) do
		if jid and not roster[jid] then changes[jid] = false; end
	end
	for jid, contact in pairs(changes) do
		user.roster[jid] = contact or nil;
		push(user.sessions, jid, contact);
		told = tell(user.sessions, jid, contact) and told;
	end
	return told;
end

-- Fetches a user's roster and applies it; `done` gets nil, or why it failed, and is never called where nothing is said.
local function refresh(username, done)
	local user = type(username) == "string" and users[username];
	if not user then return done(); end
	fetch(username, function (verdict, roster)
		if verdict == "refused" then return done("the service refused"); end
		if users[username] ~= user then return done(); end -- he left meanwhile: assumed
		if verdict == "array" then user.poisoned = true; end -- until all his sessions end
		if verdict ~= "ok" or user.poisoned then return; end
		-- A stale reply that lands late undoes a newer one.
		if apply(user, roster) then done(); end
	end);
end

-- Refreshes all of them at once; `done` gets the number of errors.
local function refresh_all(usernames, done)
	local errors, waiting = 0, #usernames;
	for _, username in ipairs(usernames) do
		refresh(username, function (problem)
			waiting = waiting - 1;
			if problem then errors = errors + 1; end
			if waiting == 0 then done(errors); end
		end);
	end
end

local function respond(response, answer)
	response.headers.content_type = "application/json";
	response:send(json.encode(answer));
end

local function handle_many(event)
	local request, response = event.request, event.response;
	response.on_destroy = function () end; -- or an answer to a client that hung up would be written
	if request.headers.transfer_encoding then
		response.conn:close(); -- as measured, without a word
		return true;
	end
	local usernames = json.decode(request.body or "");
	if usernames == nil or usernames == json.null then return 500; end
	if type(usernames) ~= "table" or #usernames == 0 then return true; end -- never answered
	refresh_all(usernames, function (errors)
		respond(response, {
			status = "ok";
			message = "roster update complete";
			updated = #usernames - errors; -- that errors are left out is assumed; users who are offline do count
			errors = errors; -- a number, which names nobody
		});
	end);
	return true;
end

local function handle_one(event, username)
	local response = event.response;
	response.on_destroy = function () end;
	refresh(username, function (problem)
		respond(response, { status = problem and "error" or "ok", message = "roster update complete" });
	end);
	return true;
end

module:depends("http");
module:provides("http", {
	route = {
		["POST /refresh"] = handle_many;
		["GET /refresh/*"] = handle_one;
	};
});

-- The roster as a client asks for it after login: fetched for the first session of a user, kept for the others.
local function reply_roster(session, stanza)
	local reply = st.reply(stanza):query("jabber:iq:roster");
	for jid, contact in pairs(session.roster) do
		if jid and jid ~= "pending" then
			reply:tag("item", { jid = jid, subscription = contact.subscription, name = contact.name });
			for group in pairs(contact.groups) do reply:text_tag("group", group); end
			reply:up();
		end
	end
	session.send(reply);
	session.interested = true;
end

module:hook("iq-get/self/jabber:iq:roster:query", function (event)
	local session, stanza = event.origin, event.stanza;
	local user = users[session.username];
	if user.poisoned then return true; end -- never answered
	if user.fetched then
		reply_roster(session, stanza);
		return true;
	end
	fetch(session.username, function (verdict, roster)
		if users[session.username] ~= user or not session.full_jid then return; end
		if verdict == "refused" then
			session.send(st.error_reply(stanza, "wait", "internal-server-error"));
			return session:close({ condition = "internal-server-error" });
		end
		if verdict ~= "ok" then return; end -- never answered; the session stays
		for jid in pairs(session.roster) do
			if jid then session.roster[jid] = nil; end
		end
		for jid, contact in pairs(roster) do session.roster[jid] = contact; end
		user.fetched = true;
		reply_roster(session, stanza);
	end);
	return true;
end);
