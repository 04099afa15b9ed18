#!lua flags=no-writes
-- Reads the first job of each of the lines of a queue whose turn comes first, as far as the bytes allow.
--
-- KEYS: the queue's `wait`, its `keys`, its `turn` (see parts/lines.lua)
-- ARGV: how many lines, how many bytes
-- Returns: {raw...}; empty without lines, or if a key has a wrong type
-- Sent twice: it only reads.

local left_bytes, found = tonumber(ARGV[2]), {}
local names = redis.pcall('ZRANGE', KEYS[3], 0, ARGV[1] - 1)
local records = not names.err and #names > 0 and redis.pcall('HMGET', KEYS[2], unpack(names))
if not records or records.err then
  return {}
end
for n, name in ipairs(names) do
  local head = string.match(records[n] or '', '^(%d+) %d+$')
  local raw = head and redis.pcall('HGET', KEYS[1], head .. ':' .. name)
  if type(raw) == 'string' and #raw <= left_bytes then
    found[#found + 1], left_bytes = raw, left_bytes - #raw
  end
end
return found
