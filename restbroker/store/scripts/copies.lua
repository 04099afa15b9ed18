#!lua flags=no-writes
-- Reads copies of dead jobs, the newest first, as far as the bytes allow.
--
-- KEYS: parked
-- ARGV: the entry to begin with ('+': the newest, '(ID': behind it), how many at most, how many bytes
-- Returns: {ID, {field, value...}}...; fewer once they have the bytes together, and at least one unless there is none
-- Sent twice: it only reads.

-- part: reading

local from, found = ARGV[1], {}

local function read(_, count)
  local part = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', count)
  from = #part > 0 and '(' .. part[#part][1] or from
  return part
end

-- The payload is an entry's last field.
local function size_of(entry)
  return #entry[2][#entry[2]]
end

fill(found, tonumber(ARGV[2]), tonumber(ARGV[3]), 1, read, size_of)
return found
