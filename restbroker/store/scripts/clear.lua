#!lua flags=allow-oom
-- Deletes some of the jobs that wait in a queue, the next to be taken first: those that were there when a person asked
-- for it, which are the newest job of that moment and all that lie behind it.
--
-- KEYS: the queue's list
-- ARGV: the newest job that is meant, how many at most
-- Returns: {deleted, how many that are meant are left}; {0, 0} once the newest one is gone: it would have been taken
--          last
-- Sent twice: the second deletes more of what is meant.

local list, newest, most = KEYS[1], ARGV[1], tonumber(ARGV[2])
local later = redis.call('LPOS', list, newest)
if not later then
  return {0, 0}
end
local meant = redis.call('LLEN', list) - later
local deleted = math.min(meant, most)
redis.call('LTRIM', list, 0, -deleted - 1)
return {deleted, meant - deleted}
