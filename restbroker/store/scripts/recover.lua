#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again. What was marked as about to be sent is parked instead, and so is a job
-- that has been alone in hand in ALONE_LIMIT crashes: others beside it are innocent.
--
-- KEYS: dying, ip, dead, parked, sent, recovered (of the day), recovered version, inflight, then the
--       identity's queues by index
-- ARGV: identity, then per job: ticket, qidx, 1 if it may have reached a worker else 0, score and payload for the
--       dead set if it is marked ('once' or 'alone')
-- Returns: 'NOTFENCED' | per job 1 back in its queue | 2 parked | 0 not there (any more) | 'DUP' the dead set holds an
--          equal member | an error's text: still in hand
-- No mark can be added any more: a fenced identity gets none.
--
-- What may have reached a worker is counted by the SHA-1 of its bytes, once per dead identity: three equal payloads
-- in one crash count as one. Sent twice, or by two reapers at once: each job moves and counts once.

local FIXED_KEYS, FIELDS, KEEP_S, PARKED_MAX, ALONE_LIMIT = 8, 5, 259200, 100000, 2
local dead, parked, sent = KEYS[3], KEYS[4], KEYS[5]
local id, ip, day = ARGV[1], KEYS[2], KEYS[6]
local in_flight, codes, counted = KEYS[8], {}, false

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

-- The value is count/alone:identity, the identity being the one that raised it last. Returns the second number.
local function count(raw, alone)
  local digest = redis.sha1hex(raw)
  local before, lone, by = string.match(redis.call('HGET', day, digest) or '0/0:', '^(%d+)/(%d+):(.*)$')
  lone = tonumber(lone or '0')
  if by ~= id then
    lone = lone + alone
    redis.call('HSET', day, digest, string.format('%d/%d:%s', tonumber(before or '0') + 1, lone, id))
    redis.call('EXPIRE', day, KEEP_S)
    counted = true
  end
  return lone
end

local function park(ticket, score, payload)
  local added = redis.pcall('ZADD', dead, 'NX', score, payload)
  if type(added) == 'table' and added.err then
    return added.err
  end
  if added == 0 then
    return 'DUP'
  end
  redis.call('HDEL', sent, ticket)
  redis.pcall('XADD', parked, 'MAXLEN', '~', PARKED_MAX, '*', 'ticket', ticket, 'payload', payload)
end

local function push(qidx, raw, touched)
  local pushed = redis.pcall('RPUSH', KEYS[FIXED_KEYS + tonumber(qidx)], raw)
  if type(pushed) == 'table' and pushed.err then
    return pushed.err
  end
  if touched == '1' then
    count(raw, 0)
  end
end

-- Wrong types surface here, before the first write.
redis.call('HLEN', day)
redis.call('HLEN', sent)
local has_share = redis.pcall('HEXISTS', in_flight, id) == 1
for n = 1, (#ARGV - 1) / FIELDS do
  local ticket, qidx, touched, score, payload = unpack(ARGV, 2 + (n - 1) * FIELDS, 1 + n * FIELDS)
  local raw = redis.call('HGET', ip, ticket)
  if not raw then
    codes[n] = 0
  else
    redis.call('HDEL', ip, ticket)
    local why, code = nil, 1
    local mark = redis.call('HGET', sent, ticket)
    if mark == 'alone' and count(raw, 1) < ALONE_LIMIT then
      -- Counted before it is pushed: should Redis refuse that, the same identity does not count again.
      why = push(qidx, raw, '0')
    elseif mark then
      why, code = park(ticket, score, payload), 2
    else
      why = push(qidx, raw, touched)
    end
    if why then
      redis.call('HSET', ip, ticket, raw)
    end
    codes[n] = why or code
  end
end
if has_share then
  local known = redis.call('HMGET', ip, 'last', 'hwm')
  redis.call('HSET', in_flight, id, redis.call('HLEN', ip) - (known[1] and 1 or 0) - (known[2] and 1 or 0))
end
if counted then
  redis.pcall('INCR', KEYS[7])
end
return codes
