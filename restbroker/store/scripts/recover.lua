#!lua flags=allow-oom
-- Gives jobs of a fenced identity back to their queues, each for itself. The caller sends the newest first: the
-- oldest then is the next to be taken again. It decides what becomes of each, as nothing of them changes any more.
--
-- KEYS: dying, ip, dead, parked, sent, inflight, schedule, queues;
--       the identity's queues, by index;
--       destinations of replies, which ARGV names by their number from 1;
--       the target's `held`, `groups` and `stopped`, then all `turn`, all `line` and all `fair` of the queues, by index
--       (parts/keys.lua)
-- ARGV: 1 identity
--       2 number of the identity's queues
--       per job: ticket, qidx,
--         fate: 'back' | 'wait' (in the schedule set, or with its ordered key) | 'dead',
--         score: when it is due if it waits, else now,
--         payload: its bytes from now on ('' = as they are),
--         what its death does to its ordered key: 'go' | 'stop',
--         until when its ordered key is closed (epoch seconds): a request for it may still be answered,
--         number of replies that it owes once dead, and per reply: destination, queue name ('' = a key, not a queue), ttl in
--         seconds (keys only), payload
-- Returns: 'NOTFENCED' | per job 1 back in its queue, or due there soon | 2 dead, and answered if it owes that
--          | 3 dead, though Redis refuses an answer | 0 not there (any more) | 'DUP' its set holds an equal member
--          | an error's text: still in progress
--
-- Always holds: a job is in the hash, or where its code says. What is requeued owes no reply yet. Sent twice, or by two
-- reapers at once: each job moves, is answered and counts this crash once.

local FIXED_KEYS = 8
local dead, parked, sent = KEYS[3], KEYS[4], KEYS[5]
local id, ip, in_flight, schedule, queues = ARGV[1], KEYS[2], KEYS[6], KEYS[7], KEYS[8]
local queue_count, at, codes = tonumber(ARGV[2]), 3, {}
local keys

if redis.call('HEXISTS', KEYS[1], id) == 0 then
  return 'NOTFENCED'
end

local function next_job()
  local job, owed = {replies = {}, quiet_until = tonumber(ARGV[at + 6])}, tonumber(ARGV[at + 7])
  job.ticket, job.qidx, job.fate, job.score, job.payload, job.effect = unpack(ARGV, at, at + 5)
  at = at + 8
  for i = 1, owed do
    job.replies[i] = {key = KEYS[FIXED_KEYS + queue_count + tonumber(ARGV[at])], queue = ARGV[at + 1],
                      ttl_s = tonumber(ARGV[at + 2]), payload = ARGV[at + 3]}
    at = at + 4
  end
  return job
end

-- part: moves

-- part: clock

-- part: keys

local first = #KEYS - 3 * queue_count
local of_queues = queues_of_keys(first, queue_count)
keys = keys_of(KEYS[first - 2], KEYS[first], of_queues)
local refusal = keys.refusal()
local function is_ordered(job)
  return job.key and string.find(job.key, '\30', 1, true) ~= nil
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
    keys.settle(job.key, job.effect, job.effect == 'stop' and jid_of(job.payload), job.quiet_until)
  end
  local code = 2
  for _, reply in ipairs(job.replies) do
    code = push_to(queues, reply.queue, reply.key, reply.payload, reply.ttl_s) and 3 or code
  end
  keep_copy(parked, job.ticket, job.payload)
  return nil, code
end

-- To the end that is served next, of its key if it has one; an ordered one may go on at a time. What waits alone does so
-- in the schedule set, from which it goes to the queue.
local function give_back(job, raw)
  local waits = job.fate == 'wait'
  if waits and not is_ordered(job) then
    return add_to(schedule, job.score, raw)
  elseif job.key and (is_ordered(job) or not has_order(KEYS[first - 1])) then
    local at_s = math.max(job.quiet_until, waits and tonumber(job.score) or 0)
    return (keys.put_back(of_queues[tonumber(job.qidx)], job.key, raw, at_s))
  end
  local list = KEYS[FIXED_KEYS + tonumber(job.qidx)]
  return failure(list, redis.pcall('RPUSH', list, raw))
end

-- Wrong types surface here, before the first write.
redis.call('HLEN', sent)
local has_share = redis.pcall('HEXISTS', in_flight, id) == 1
while at <= #ARGV do
  local n, job = #codes + 1, next_job()
  local raw = redis.call('HGET', ip, job.ticket)
  if not raw then
    codes[n] = 0
  else
    local why, code
    job.key = key_of(job.ticket)
    why = job.key and refusal
    redis.call('HDEL', ip, job.ticket)
    if not why and job.fate == 'dead' then
      why, code = bury(job)
    elseif not why then
      why, code = give_back(job, job.payload ~= '' and job.payload or raw), 1
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
return codes
