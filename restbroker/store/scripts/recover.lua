#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again. What was marked 'once' (about to be sent) dies instead.
--
-- KEYS: dying, ip, dead, parked, sent, recovered (of the day), recovered version, inflight, schedule, queues;
--       the identity's queues, by index;
--       destinations of replies, which ARGV names by their number from 1;
--       the target's `held`, `groups` and `stopped`, then all `turn`, all `line` and all `fair` of the queues, by index
--       (parts/groups.lua)
-- ARGV: 1 identity
--       2 its target
--       3 its generation
--       4 1 if other pools of its process have jobs in progress, else 0
--       5 jitter
--       6 number of the identity's queues
--       per job: ticket, qidx,
--         1 if it may have reached a worker (its number is at most hwm), else 0,
--         score (now),
--         payload for the dead set, if it is marked,
--         1 if the schedule set leads back to its queue, else 0,
--         what its death does to its ordered group: 'go' | 'stop',
--         until when its ordered group is closed (epoch seconds): a request for it may still be answered,
--         number of replies that it owes once dead, and per reply: destination, queue name ('' = a key, not a queue), ttl in
--         seconds (keys only), payload
-- Returns: 'NOTFENCED' | per job 1 back in its queue, or due there soon | 2 dead, and answered if it owes that
--          | 3 dead, though Redis refuses an answer | 0 not there (any more) | 'DUP' the dead set holds an equal
--          member | an error's text: still in progress
--
-- Always holds: a job is in the hash, or where its code says; no mark can be added any more, since a fenced identity gets
-- none. What is requeued owes no reply yet. Sent twice, or by two reapers at once: each job moves, is answered and counts
-- once.
--
-- What may have reached a worker is counted by the SHA-1 of its bytes, once per dead identity: three equal payloads
-- in one crash count as one.
--
-- What was in progress in three crashes or more waits before it runs again, longer after each. A job that was marked
-- 'alone' had nothing beside it in its worker pool: it dies when the last ALONE_LIMIT crashes of its target were its
-- own, none of them with another pool of its process (or generation) busy. Where processes die for other reasons,
-- others come between.

local FIXED_KEYS, KEEP_S = 10, 259200
local ALONE_LIMIT, FIRST_WAIT_S, LONGEST_WAIT_S = 3, 5, 300
local dead, parked, sent = KEYS[3], KEYS[4], KEYS[5]
local id, ip, day = ARGV[1], KEYS[2], KEYS[6]
local in_flight, schedule, queues = KEYS[8], KEYS[9], KEYS[10]
local jitter, queue_count, at = tonumber(ARGV[5]), tonumber(ARGV[6]), 7
local crashes, generation = '#' .. ARGV[2], '#' .. ARGV[3]
local codes, counted = {}, false
local groups

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

-- Adds one to a field once per identity; the value is count/alone/crashes:identity, the identity being the one that
-- raised it last. `alone` is how many of the last crashes were this job's own, `crashes` the target's others by then.
-- What is no such value was written by others, and counts as none. `own`: nothing else was busy. Returns both
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

local function next_job()
  local job, owed = {replies = {}, quiet_until = tonumber(ARGV[at + 7])}, tonumber(ARGV[at + 8])
  job.ticket, job.qidx, job.touched, job.score, job.payload, job.waits, job.effect = unpack(ARGV, at, at + 6)
  at = at + 9
  for i = 1, owed do
    job.replies[i] = {key = KEYS[FIXED_KEYS + queue_count + tonumber(ARGV[at])], queue = ARGV[at + 1],
                      ttl_s = tonumber(ARGV[at + 2]), payload = ARGV[at + 3]}
    at = at + 4
  end
  return job
end

-- part: moves

-- part: clock

-- part: groups

local first = #KEYS - 3 * queue_count
local of_queues = group_queues(first, queue_count)
groups = groups_of(KEYS[first - 2], KEYS[first], of_queues)
local refusal = groups.refusal()
local function is_ordered(job)
  return job.group and string.find(job.group, '\30', 1, true) ~= nil
end

-- Returns an error's text, or nil and the job's code. An answer that Redis refuses holds up neither the job nor another
-- answer: a caller that waits is better served by a job that an operator sees.
local function bury(job)
  local why = add_to(dead, job.score, job.payload)
  if why then
    return why
  end
  redis.call('HDEL', sent, job.ticket)
  if is_ordered(job) then
    groups.settle(job.group, job.effect, job.effect == 'stop' and jid_of(job.payload), job.quiet_until)
  end
  local code = 2
  for _, reply in ipairs(job.replies) do
    code = push_to(queues, reply.queue, reply.key, reply.payload, reply.ttl_s) and 3 or code
  end
  keep_copy(parked, job.ticket, job.payload)
  return nil, code
end

-- To the end that is served next, of its group if it has one; an ordered one may go on at a time.
local function push(job, raw, at_s)
  if is_ordered(job) or job.group and not has_order(KEYS[first - 1]) then
    return (groups.put_back(of_queues[tonumber(job.qidx)], job.group, raw, math.max(job.quiet_until, at_s or 0)))
  end
  local list = KEYS[FIXED_KEYS + tonumber(job.qidx)]
  return failure(list, redis.pcall('RPUSH', list, raw))
end

-- Back to the queue, or to the schedule set for a while. Counted before it moves: should Redis refuse that, it counts
-- once all the same.
local function give_back(job, raw, times)
  if job.waits ~= '1' or times < 3 then
    return push(job, raw)
  end
  local wait_s = math.min(FIRST_WAIT_S * 2 ^ (times - 3), LONGEST_WAIT_S) * jitter
  if is_ordered(job) then
    return push(job, raw, tonumber(job.score) + wait_s)
  end
  local added = redis.pcall('ZADD', schedule, 'NX', string.format('%.6f', tonumber(job.score) + wait_s), raw)
  return added ~= 1 and push(job, raw) or nil
end

local function lone(job, raw)
  local beside = ARGV[4] == '1' or redis.call('HEXISTS', day, generation) == 1
  local times, alone = count(redis.sha1hex(raw), not beside)
  if alone >= ALONE_LIMIT then
    return bury(job)
  end
  return give_back(job, raw, times), 1
end

local function among_others(job, raw)
  redis.call('HSET', day, generation, 1)
  count(crashes)
  return give_back(job, raw, count(redis.sha1hex(raw))), 1
end

local function place(job, raw)
  local mark = redis.call('HGET', sent, job.ticket)
  if mark == 'alone' then
    return lone(job, raw)
  elseif mark then
    return bury(job)
  elseif job.touched == '1' then
    return among_others(job, raw)
  end
  return push(job, raw), 1
end

-- Wrong types surface here, before the first write.
redis.call('HLEN', day)
redis.call('HLEN', sent)
local has_share = redis.pcall('HEXISTS', in_flight, id) == 1
while at <= #ARGV do
  local n, job = #codes + 1, next_job()
  local raw = redis.call('HGET', ip, job.ticket)
  if not raw then
    codes[n] = 0
  else
    local why, code
    job.group = group_of(job.ticket)
    why = job.group and refusal
    redis.call('HDEL', ip, job.ticket)
    if not why then
      why, code = place(job, raw)
    end
    if why then
      redis.call('HSET', ip, job.ticket, raw)
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
