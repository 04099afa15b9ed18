#!lua flags=no-writes
-- Reads the first job of each of the lines of a queue whose turn comes first, as far as the bytes allow. Where lines have no
-- turn, since their keys are held, also of those that began first, by their numbers: these begin with the time.
--
-- KEYS: the queue's `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: how many lines, how many bytes
-- Returns: {raw...}; empty without lines, or if a key has a wrong type
-- Sent twice: it only reads.

local MOST_SCANNED, OLDEST = 2000, 10
local wait, keys, turn, left_bytes, found, seen = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[2]), {}, {}

local function read(head, name)
  local raw = head and not seen[name] and redis.pcall('HGET', wait, head .. ':' .. name)
  seen[name] = true
  if type(raw) == 'string' and #raw <= left_bytes then
    found[#found + 1], left_bytes = raw, left_bytes - #raw
  end
end

local function head_of(record)
  return string.match(record or '', '^(%d+) %d+$')
end

local names = redis.pcall('ZRANGE', turn, 0, ARGV[1] - 1)
local lines = redis.pcall('HLEN', keys)
if names.err or type(lines) ~= 'number' then
  return {}
end
for n, record in ipairs(#names > 0 and redis.call('HMGET', keys, unpack(names)) or {}) do
  read(head_of(record), names[n])
end
if lines - redis.call('HEXISTS', keys, '\0v') <= redis.call('ZCARD', turn) then
  return found
end
local cursor, scanned, held = '0', 0, {}
repeat
  local page = redis.call('HSCAN', keys, cursor, 'COUNT', 500)
  cursor, scanned = page[1], scanned + #page[2] / 2
  for i = 1, #page[2], 2 do
    local head = head_of(page[2][i + 1])
    if head and not seen[page[2][i]] then
      held[#held + 1] = {number = tonumber(head), head = head, name = page[2][i]}
    end
  end
until cursor == '0' or scanned >= MOST_SCANNED
table.sort(held, function(one, other) return one.number < other.number end)
for n = 1, math.min(OLDEST, #held) do
  read(held[n].head, held[n].name)
end
return found
