#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again. What was marked 'once' (about to be sent) is parked instead.
--
-- KEYS: dying, ip, dead, parked, sent, recovered (of the day), recovered version, inflight, schedule, then the
--       identity's queues by index
-- ARGV: identity, its target, its life, 1 if other lanes of its process have jobs in hand else 0, jitter, then per
--       job: ticket, qidx, 1 if it may have reached a worker else 0, score (now) and payload for the dead set if it is
--       marked, 1 if the schedule set leads back to its queue else 0
-- Returns: 'NOTFENCED' | per job 1 back in its queue, or due there soon | 2 parked | 0 not there (any more) | 'DUP' the
--          dead set holds an equal member | an error's text: still in hand
-- No mark can be added any more: a fenced identity gets none.
--
-- What may have reached a worker is counted by the SHA-1 of its bytes, once per dead identity: three equal payloads
-- in one crash count as one. Sent twice, or by two reapers at once: each job moves and counts once.
--
-- What was in hand in three crashes or more waits before it runs again, longer after each. A job that was marked
-- 'alone' had nothing beside it in its lane: it is parked when the last ALONE_LIMIT crashes of its target were its own,
-- none of them with another lane of its process (or life) at work. Where processes die for other reasons, others come between.

local FIXED_KEYS, FIXED_ARGV, FIELDS, KEEP_S, PARKED_MAX = 9, 5, 6, 259200, 100000
local ALONE_LIMIT, FIRST_WAIT_S, LONGEST_WAIT_S = 3, 5, 300
local dead, parked, sent = KEYS[3], KEYS[4], KEYS[5]
local id, ip, day = ARGV[1], KEYS[2], KEYS[6]
local in_flight, schedule, jitter = KEYS[8], KEYS[9], tonumber(ARGV[5])
local crashes, life = '#' .. ARGV[2], '#' .. ARGV[3]
local codes, counted = {}, false

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

-- Adds one to a field once per identity; the value is count/alone/crashes:identity, the identity being the one that
-- raised it last. `alone` is how many of the last crashes were this job's own, `crashes` the target's others by then.
-- What is no such value was written by somebody else, and counts as none. `own`: nothing else was at work. Returns both
-- counts.
local function count(field, own)
  local before, alone, seen, by = string.match(redis.call('HGET', day, field) or '', '^(%d+)/(%d+)/(%d+):(.*)$')
  before, alone = tonumber(before or '0'), tonumber(alone or '0')
  if by ~= id then
    local others = string.match(redis.call('HGET', day, crashes) or '', '^%d+') or '0'
    if seen ~= others then
      alone = 0
    end
    if own then
      alone = alone + 1
    end
    before = before + 1
    redis.call('HSET', day, field, string.format('%d/%d/%s:%s', before, alone, others, id))
    redis.call('EXPIRE', day, KEEP_S)
    counted = true
  end
  return before, alone
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

-- Back to the queue, or to the schedule set for a while. Counted before it moves: should Redis refuse that, it counts
-- once all the same.
local function give_back(qidx, raw, now, times, waits)
  if waits ~= '1' or times < 3 then
    return push(qidx, raw)
  end
  local wait_s = math.min(FIRST_WAIT_S * 2 ^ (times - 3), LONGEST_WAIT_S) * jitter
  local added = redis.pcall('ZADD', schedule, 'NX', string.format('%.6f', tonumber(now) + wait_s), raw)
  return added ~= 1 and push(qidx, raw) or nil
end

local function lone(ticket, qidx, raw, score, payload, waits)
  local beside = ARGV[4] == '1' or redis.call('HEXISTS', day, life) == 1
  local times, alone = count(redis.sha1hex(raw), not beside)
  if alone >= ALONE_LIMIT then
    return park(ticket, score, payload), 2
  end
  return give_back(qidx, raw, score, times, waits), 1
end

local function among_others(qidx, raw, score, waits)
  redis.call('HSET', day, life, 1)
  count(crashes)
  return give_back(qidx, raw, score, count(redis.sha1hex(raw)), waits)
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
    elseif touched == '1' then
      why = among_others(qidx, raw, score, waits)
    else
      why = push(qidx, raw)
    end
    if why then
      redis.call('HSET', ip, ticket, raw)
    end
    codes[n] = why or code
  end
end
if has_share then
  local jobs = redis.call('HLEN', ip) - redis.call('HEXISTS', ip, 'last') - redis.call('HEXISTS', ip, 'hwm')
  redis.call('HSET', in_flight, id, jobs)
end
if counted then
  redis.pcall('INCR', KEYS[7])
end
return codes
