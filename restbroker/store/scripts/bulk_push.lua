#!lua
-- Pushes the next rows of a batch, and notes in the same step how far it got: so anyone who goes on after a crash,
-- an outage or a lost answer knows what is there. What Redis forgets of one (a crash, a failover) it forgets of both.
--
-- KEYS: the batch's hash, queues, schedule, then the lists
-- ARGV: the last row that was pushed before, the last row of these, how many seconds the batch is remembered, when the
--       jobs are due ('' = at once), then for each list: the queue's name, how many jobs, the jobs in their order
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

local at, n, pushed = 5, 3, 0
while at <= #ARGV do
  local queue, count, reply = ARGV[at], tonumber(ARGV[at + 1]), nil
  n = n + 1
  if due == '' then
    reply = redis.pcall('LPUSH', KEYS[n], unpack(ARGV, at + 2, at + 1 + count))
  else
    local scored = {}
    for i = at + 2, at + 1 + count do
      scored[#scored + 1] = due
      scored[#scored + 1] = ARGV[i]
    end
    -- Jobs of their own ids: none is there already.
    reply = redis.pcall('ZADD', schedule, 'NX', unpack(scored))
  end
  if type(reply) == 'table' and reply.err then
    undo()
    return (due == '' and KEYS[n] or schedule) .. ': ' .. reply.err
  end
  if due == '' then
    done[#done + 1] = {list = KEYS[n], count = count}
    redis.call('SADD', queues, queue)
  end
  at, pushed = at + 2 + count, pushed + count
end
redis.call('HSET', batch, 'row', last)
redis.call('HINCRBY', batch, 'pushed', pushed)
redis.call('EXPIRE', batch, ttl_s)
return last
