-- Writes the rosters that Prosody keeps in files to stdout as NDJSON, for `restbroker roster import FILE`:
--
--     lua prosody.lua [--one-sided] /var/lib/prosody/example%2eorg/roster/*.dat > rosters.ndjson
--
-- Contacts whose subscription is not `both` are left out, unless --one-sided is given. First stop Prosody.

local function read(name) -- its files are Lua; nothing that they could call is there
  local chunk, why
  if setfenv then
    chunk, why = loadfile(name)
    if chunk then setfenv(chunk, {}) end
  else
    chunk, why = loadfile(name, "t", {})
  end
  return assert(chunk, why)()
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function contact(entry)
  local groups, members = {}, {}
  for n, group in ipairs(sorted(entry.groups or {})) do groups[n] = quoted(group) end
  if entry.name then members[1] = '"name":' .. quoted(entry.name) end
  if #groups > 0 then members[#members + 1] = '"groups":[' .. table.concat(groups, ",") .. "]" end
  return "{" .. table.concat(members, ",") .. "}"
end

local one_sided, left_out = arg[1] == "--one-sided", 0
for n = one_sided and 2 or 1, #arg do
  local user = arg[n]:match("([^/]+)%.dat$"):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  local found, contacts = {}, {}
  for jid, entry in pairs(read(arg[n])) do -- false has its version, `pending` those who ask to be a contact
    if jid and jid ~= "pending" then
      if one_sided or entry.subscription == "both" then found[jid] = entry else left_out = left_out + 1 end
    end
  end
  for i, jid in ipairs(sorted(found)) do contacts[i] = quoted(jid) .. ":" .. contact(found[jid]) end
  print(('{"user":%s,"contacts":{%s}}'):format(quoted(user), table.concat(contacts, ",")))
end
if left_out > 0 then
  io.stderr:write(left_out, " contacts left out, whose subscription is not both; see --one-sided.\n")
end
