#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again. What was marked 'once' (about to be sent) is parked instead.
--
-- KEYS: dying, ip, dead, parked, sent, recovered (of the day), recovered version, inflight, schedule, then the
--       identity's queues by index
-- ARGV: identity, its target, jitter, then per job: ticket, qidx, 1 if it may have reached a worker else 0, score (now)
--       and payload for the dead set if it is marked, 1 if the schedule set leads back to its queue else 0
-- Returns: 'NOTFENCED' | per job 1 back in its queue, or due there soon | 2 parked | 0 not there (any more) | 'DUP' the
--          dead set holds an equal member | an error's text: still in hand
-- No mark can be added any more: a fenced identity gets none.
--
-- What may have reached a worker is counted by the SHA-1 of its bytes, once per dead identity: three equal payloads
-- in one crash count as one. Sent twice, or by two reapers at once: each job moves and counts once.
--
-- A job that was marked 'alone' had nothing beside it in hand. It waits longer after each crash, and is parked when
-- the last ALONE_LIMIT crashes of its target were all its own: where processes die for other reasons, others come
-- between.

local FIXED_KEYS, FIXED_ARGV, FIELDS, KEEP_S, PARKED_MAX = 9, 3, 6, 259200, 100000
local ALONE_LIMIT, FIRST_WAIT_S, LONGEST_WAIT_S = 3, 5, 30
local dead, parked, sent = KEYS[3], KEYS[4], KEYS[5]
local id, ip, day = ARGV[1], KEYS[2], KEYS[6]
local in_flight, schedule, crashes, jitter = KEYS[8], KEYS[9], '#' .. ARGV[2], tonumber(ARGV[3])
local codes, counted = {}, false

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

-- Adds one to a field once per identity; the value is count/alone/crashes:identity, the identity being the one that
-- raised it last. `alone` is how many of the last crashes were this job's own, `crashes` the target's others by then.
local function count(field, alone)
  local value = redis.call('HGET', day, field) or '0/0/0:'
  local before, own, seen, by = string.match(value, '^(%d+)/(%d+)/(%d+):(.*)$')
  before, own = tonumber(before or '0'), tonumber(own or '0')
  if by ~= id then
    local others = tonumber(string.match(redis.call('HGET', day, crashes) or '0', '^%d+'))
    own = alone and (tonumber(seen) == others and own or 0) + 1 or 0
    before = before + 1
    redis.call('HSET', day, field, string.format('%d/%d/%d:%s', before, own, others, id))
    redis.call('EXPIRE', day, KEEP_S)
    counted = true
  end
  return before, own
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

local function push(qidx, raw)
  local pushed = redis.pcall('RPUSH', KEYS[FIXED_KEYS + tonumber(qidx)], raw)
  return type(pushed) == 'table' and pushed.err or nil
end

local function put_off(qidx, raw, now, times)
  local wait_s = math.min(FIRST_WAIT_S * 2 ^ math.max(0, times - 3), LONGEST_WAIT_S) * jitter
  local added = redis.pcall('ZADD', schedule, 'NX', string.format('%.6f', tonumber(now) + wait_s), raw)
  return added ~= 1 and push(qidx, raw) or nil
end

-- A crash of the job alone, which is counted before the job moves: should Redis refuse that, it counts once all the same.
local function lone(ticket, qidx, raw, score, payload, waits)
  local times, own = count(redis.sha1hex(raw), true)
  if own >= ALONE_LIMIT then
    return park(ticket, score, payload), 2
  end
  return waits == '1' and put_off(qidx, raw, score, times) or waits ~= '1' and push(qidx, raw) or nil, 1
end

-- Wrong types surface here, before the first write.
redis.call('HLEN', day)
redis.call('HLEN', sent)
local has_share = redis.pcall('HEXISTS', in_flight, id) == 1
for n = 1, (#ARGV - FIXED_ARGV) / FIELDS do
  local at = FIXED_ARGV + (n - 1) * FIELDS
  local ticket, qidx, touched, score, payload, waits = unpack(ARGV, at + 1, at + FIELDS)
  local raw = redis.call('HGET', ip, ticket)
  if not raw then
    codes[n] = 0
  else
    redis.call('HDEL', ip, ticket)
    local why, code = nil, 1
    local mark = redis.call('HGET', sent, ticket)
    if mark == 'alone' then
      why, code = lone(ticket, qidx, raw, score, payload, waits)
    elseif mark then
      why, code = park(ticket, score, payload), 2
    else
      why = push(qidx, raw)
      if not why and touched == '1' then
        count(redis.sha1hex(raw), false)
        count(crashes, false)
      end
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
