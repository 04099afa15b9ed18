#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again.
--
-- KEYS: dying, ip, dead, parked, sent, recovered (of the day), recovered version, then the identity's queues by index
--       (dead, parked and sent are not used yet)
-- ARGV: identity, then per job: ticket, qidx, 1 if it may have reached a worker else 0
-- Returns: 'NOTFENCED' | per job 1 back in its queue | 0 not there (any more) | an error's text: still in hand
--
-- What may have reached a worker is counted by the SHA-1 of its bytes, once per dead identity: three equal payloads
-- in one crash count as one. Sent twice, or by two reapers at once: each job moves and counts once.

local FIXED_KEYS, FIELDS, KEEP_S = 7, 3, 259200
local id, ip, day = ARGV[1], KEYS[2], KEYS[6]
local codes, counted = {}, false

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

-- The value is count:identity, the identity being the one that raised it last.
local function count(raw)
  local digest = redis.sha1hex(raw)
  local before, by = string.match(redis.call('HGET', day, digest) or '0:', '^(%d+):(.*)$')
  if by ~= id then
    redis.call('HSET', day, digest, string.format('%d:%s', tonumber(before or '0') + 1, id))
    redis.call('EXPIRE', day, KEEP_S)
    counted = true
  end
end

-- A wrong type surfaces here, before the first write.
redis.call('HLEN', day)
for n = 1, (#ARGV - 1) / FIELDS do
  local ticket, qidx, touched = unpack(ARGV, 2 + (n - 1) * FIELDS, 1 + n * FIELDS)
  local raw = redis.call('HGET', ip, ticket)
  if not raw then
    codes[n] = 0
  else
    redis.call('HDEL', ip, ticket)
    local pushed = redis.pcall('RPUSH', KEYS[FIXED_KEYS + tonumber(qidx)], raw)
    if type(pushed) == 'table' and pushed.err then
      redis.call('HSET', ip, ticket, raw)
      codes[n] = pushed.err
    else
      codes[n] = 1
      if touched == '1' then
        count(raw)
      end
    end
  end
end
if counted then
  redis.pcall('INCR', KEYS[7])
end
return codes
