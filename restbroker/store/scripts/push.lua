#!lua
-- Pushes or schedules one job, unless it was pushed already, or another job holds its lock.
--
-- KEYS: a note of the push, queues, the queue's list or the schedule, and, if the job has one, its lock
-- ARGV: jid, for how many milliseconds a push is remembered, queue's name, when the job is due ('' = at once), payload,
--       for how many milliseconds the lock lasts, the lock's value with whose job nowhere was found ('' = none was looked
--       for): then it is taken over
-- Returns: 1 it is pushed, now or before | {value, 1 or 0} the lock that another job holds, and whether to look for that
--          job: nothing was pushed | an error's text: likewise
-- Sent twice, as by who got no answer: the second answers 1 for what the first pushed.

local note, queues, place, lock = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local jid, note_ms, queue, due, payload, lock_ms, over = unpack(ARGV)

-- part: clock

-- part: moments

local value = lock and redis.call('GET', lock)
local holder, moment = holder_of(value)
if holder and holder ~= jid and value ~= over and redis.call('EXISTS', note) == 0 then
  return {value, is_stale(moment) and 1 or 0}
end

-- part: moves

-- Whatever this user may not do ends the script before the job is anywhere.
if not redis.call('SET', note, '1', 'NX', 'PX', note_ms) then
  return 1
end
if lock then
  redis.call('SET', lock, with_moment(jid, 0), 'PX', lock_ms)
end
local why
if due == '' then
  why = push_to(queues, queue, place, payload)
else
  why = failure(place, redis.pcall('ZADD', place, 'NX', due, payload))
end
if why then
  redis.pcall('DEL', note)
  if lock then
    redis.pcall('DEL', lock)
  end
end
return why or 1
