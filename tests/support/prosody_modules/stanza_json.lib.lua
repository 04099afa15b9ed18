-- Stanzas as JSON, as mod_rest takes and gives them: kind, type, from, to, id and what is in the stanza by name.
-- Only the members that tests need; what else a document has is passed over. Used by our mod_rest.lua.

local array = require "util.array";
local json = require "util.json";
local st = require "util.stanza";
local uuid = require "util.uuid".generate;

local kinds = { message = true, presence = true, iq = true };
local types = {
	message = { chat = true, error = true, groupchat = true, headline = true, normal = true };
	presence = {
		error = true, probe = true, subscribe = true, subscribed = true, unavailable = true, unsubscribe = true,
		unsubscribed = true, available = true,
	};
	iq = { get = true, set = true, result = true, error = true };
};
local texts = { "body", "subject", "thread", "show", "status" };
local members = { "from", "to", "id", "lang", "body", "subject", "thread", "show", "status" };
local queries = {
	ping = { "ping", "urn:xmpp:ping" };
	version = { "query", "jabber:iq:version" };
	disco = { "query", "http://jabber.org/protocol/disco#info" };
	items = { "query", "http://jabber.org/protocol/disco#items" };
};
local states = "http://jabber.org/protocol/chatstates";
local commands = "http://jabber.org/protocol/commands";
local forms = "jabber:x:data";
local muc = "http://jabber.org/protocol/muc";
local histories = { "maxchars", "maxstanzas", "seconds", "since" };

-- An ad-hoc command with a form that is filled in: `node`, and by name in `data` what its fields hold.
local function add_command(stanza, command)
	stanza:tag("command", { xmlns = commands, node = command.node, action = "execute" });
	if type(command.data) == "table" then
		stanza:tag("x", { xmlns = forms, type = "submit" });
		for name, value in pairs(command.data) do
			stanza:tag("field", { var = name });
			for _, one in ipairs(type(value) == "table" and value or { value }) do stanza:text_tag("value", one); end
			stanza:up();
		end
	end
	return stanza:reset();
end

-- The stanza, or nil where the document is none.
local function read(document)
	if type(document) ~= "table" or document == json.null then return nil; end
	local kind, type_ = document.kind, document.type;
	if kind == nil and type_ and types.message[type_] then kind = "message"; end -- assumed
	if not kinds[kind] or (type_ ~= nil and not types[kind][type_]) then return nil; end
	if kind == "iq" and type_ == nil then type_ = "get"; end
	if type_ == "available" then type_ = nil; end
	for _, name in ipairs(members) do
		local value = document[name];
		if value ~= nil and type(value) ~= "string" then return nil; end
	end
	local stanza = st.stanza(kind, {
		type = type_, from = document.from, to = document.to, id = document.id or uuid(), ["xml:lang"] = document.lang;
	});
	for _, name in ipairs(texts) do
		if document[name] then stanza:text_tag(name, document[name]); end
	end
	if type(document.priority) == "number" then stanza:text_tag("priority", ("%d"):format(document.priority)); end
	if document.join == true or type(document.muc) == "table" then
		stanza:tag("x", { xmlns = muc });
		if document.muc and type(document.muc.history) == "table" then
			local wanted = { xmlns = muc }; -- said here, since a room looks for it in the element itself
			for _, name in ipairs(histories) do
				local value = document.muc.history[name];
				wanted[name] = type(value) == "number" and ("%d"):format(value) or value;
			end
			stanza:tag("history", wanted):up();
		end
		stanza:up();
	end
	if type(document.state) == "string" then stanza:tag(document.state, { xmlns = states }):up(); end
	if kind == "iq" and type(document.command) == "table" then return add_command(stanza, document.command); end
	if kind == "iq" and (type_ == "get" or type_ == "set") then
		for name, query in pairs(queries) do
			if document[name] then return stanza:tag(query[1], { xmlns = query[2] }):reset(); end
		end
		return nil; -- an iq that asks for nothing
	end
	return stanza;
end

local function write_disco(query)
	if not query.tags[1] then return query.attr.node or true; end -- a question
	local identities, features = array(), array();
	for tag in query:childtags() do
		if tag.name == "identity" then
			identities[#identities + 1] = { category = tag.attr.category, type = tag.attr.type, name = tag.attr.name };
		elseif tag.name == "feature" then
			features[#features + 1] = tag.attr.var;
		end
	end
	return { identities = identities, features = features };
end

-- The document of a stanza, a table.
local function write(stanza)
	local document = {
		kind = stanza.name;
		type = stanza.attr.type;
		from = stanza.attr.from;
		to = stanza.attr.to;
		id = stanza.attr.id;
		lang = stanza.attr["xml:lang"];
	};
	if stanza.name == "message" and not document.type then document.type = "normal"; end
	for _, name in ipairs(texts) do document[name] = stanza:get_child_text(name); end
	document.priority = tonumber(stanza:get_child_text("priority"));
	local delay = stanza:get_child("delay", "urn:xmpp:delay");
	document.delay = delay and { stamp = delay.attr.stamp, from = delay.attr.from };
	local state = stanza:child_with_ns(states);
	document.state = state and state.name;
	if stanza.attr.type == "error" then
		local type_, condition, text = stanza:get_error();
		document.error = { type = type_, condition = condition or "undefined-condition", text = text };
		return document;
	end
	document.ping = stanza:get_child("ping", queries.ping[2]) and true;
	local version = stanza:get_child("query", queries.version[2]);
	if version then
		document.version = { name = version:get_child_text("name"), version = version:get_child_text("version") };
	end
	local command = stanza:get_child("command", commands);
	if command then
		local note = command:get_child("note");
		document.command = {
			node = command.attr.node; status = command.attr.status; sessionid = command.attr.sessionid;
			note = note and { type = note.attr.type, text = note:get_text() };
		};
	end
	local disco = stanza:get_child("query", queries.disco[2]);
	if disco then document.disco = write_disco(disco); end
	return document;
end

return { read = read, write = write };
