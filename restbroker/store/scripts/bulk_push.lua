#!lua
-- Pushes the next rows of a batch, and notes in the same step how far it got: so anyone who goes on after a crash,
-- an outage or a lost answer knows what is there. What Redis forgets of one (a crash, a failover) it forgets of both.
--
-- KEYS: the batch's hash, queues, schedule, then the lists
-- ARGV: the last row that was pushed before, the last row of these, how many seconds the batch is remembered, when the
--       jobs are due ('' = at once), then for each list: the queue's name, how many jobs, the jobs in their order
--       last, if some jobs have locks: '' in the place of a queue's name, how many locks, and per lock: list and job
--         (indexes from 1), key (index among all KEYS), jid, for how many milliseconds it lasts
--       A job whose lock another one holds is not pushed, and counted as such.
-- Returns: the last row that is pushed | an error's text: nothing was pushed
-- Sent twice, or by two processes: only who knows the last row that was pushed pushes the next ones; to the others it
--             is told, and nothing is done.

local batch, queues, schedule = KEYS[1], KEYS[2], KEYS[3]
local before, last, ttl_s, due = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local row = tonumber(redis.call('HGET', batch, 'row') or '0')
if row ~= before then
  return row
end

-- Blocked readers are served when the script ends, so no one saw what is taken back.
local done = {}
local function undo()
  for _, push in ipairs(done) do
    redis.call('LTRIM', push.list, push.count, -1)
  end
end

local lists, locks, at = {}, {}, 5
while at <= #ARGV do
  local queue, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  if queue == '' then
    for i = 1, count do
      locks[i] = {list = tonumber(ARGV[at]), job = tonumber(ARGV[at + 1]), key = KEYS[tonumber(ARGV[at + 2])],
                  jid = ARGV[at + 3], ms = ARGV[at + 4]}
      at = at + 5
    end
  else
    lists[#lists + 1] = {key = KEYS[#lists + 4], queue = queue, from = at, to = at + count - 1, left_out = {}}
    at = at + count
  end
end

-- part: clock

-- part: moments

-- All reads come first. Of several jobs here with the same lock the first has it.
local holders, taken, left_out = {}, {}, 0
for _, lock in ipairs(locks) do
  local holder = holders[lock.key] or holder_of(redis.call('GET', lock.key))
  if holder and holder ~= lock.jid then
    lists[lock.list].left_out[lock.job], left_out = true, left_out + 1
  else
    holders[lock.key], taken[#taken + 1] = lock.jid, lock
  end
end

local function jobs_of(list)
  if left_out == 0 then
    return {unpack(ARGV, list.from, list.to)}
  end
  local jobs = {}
  for i = list.from, list.to do
    if not list.left_out[i - list.from + 1] then
      jobs[#jobs + 1] = ARGV[i]
    end
  end
  return jobs
end

local function scored(jobs)
  local pairs_of = {}
  for _, job in ipairs(jobs) do
    pairs_of[#pairs_of + 1] = due
    pairs_of[#pairs_of + 1] = job
  end
  return pairs_of
end

local pushed = 0
for _, list in ipairs(lists) do
  local jobs, reply = jobs_of(list), nil
  if #jobs > 0 and due == '' then
    reply = redis.pcall('LPUSH', list.key, unpack(jobs))
  elseif #jobs > 0 then
    -- Jobs of their own ids: none is there already.
    reply = redis.pcall('ZADD', schedule, 'NX', unpack(scored(jobs)))
  end
  if type(reply) == 'table' and reply.err then
    undo()
    return (due == '' and list.key or schedule) .. ': ' .. reply.err
  end
  if #jobs > 0 and due == '' then
    done[#done + 1] = {list = list.key, count = #jobs}
    redis.call('SADD', queues, list.queue)
  end
  pushed = pushed + #jobs
end
for _, lock in ipairs(taken) do
  redis.call('SET', lock.key, with_moment(lock.jid, 0), 'PX', lock.ms)
end
redis.call('HSET', batch, 'row', last)
redis.call('HINCRBY', batch, 'pushed', pushed)
if left_out > 0 then
  redis.call('HINCRBY', batch, 'queued_before', left_out)
end
redis.call('EXPIRE', batch, ttl_s)
return last
