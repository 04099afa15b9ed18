#!lua flags=no-writes
-- Reads jobs in progress, as far as the bytes allow.
--
-- KEYS: ip
-- ARGV: how many bytes, how many a job may have, then tickets
-- Returns: per ticket, in their order, its job's bytes | the length of one that is too large | false if it is not there;
--          fewer than tickets once they have the bytes together, and at least one
-- Sent twice: it only reads.

-- part: size

local left_bytes, limit_bytes, found = tonumber(ARGV[1]), tonumber(ARGV[2]), {}

-- What is surely too large is not even copied.
local function seen(ticket, size)
  if size > STORED_TIMES * limit_bytes then
    return size
  end
  local raw = redis.call('HGET', KEYS[1], ticket)
  left_bytes = left_bytes - size
  return is_too_large(raw, limit_bytes) and size or raw
end

for n = 3, #ARGV do
  local size = redis.call('HSTRLEN', KEYS[1], ARGV[n])
  if size > left_bytes and size <= STORED_TIMES * limit_bytes and n > 3 then
    break
  end
  -- An empty job and none have the same length.
  found[#found + 1] = (size > 0 or redis.call('HEXISTS', KEYS[1], ARGV[n]) == 1) and seen(ARGV[n], size)
end
return found
