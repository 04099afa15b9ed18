#!lua flags=allow-oom
-- Moves members of the Go original's retry set to `retry`, with their scores, or unreadable ones to the dead set; each
-- for itself.
--
-- KEYS: goretry, retry, dead, parked
-- ARGV: per job: old member, new member, score in the dead set ('' = to `retry`, with the score that it has)
-- Returns: per job 1 moved | 0 not there (any more) | 'DUP' an equal member is there already | an error's text
--          In the last two cases the member stays where it was, with its score.
-- Sent twice: the second answers 0 for each job that the first moved.

local FIELDS, PARKED_MAX = 3, 100000
local source, retry, dead, parked = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local codes = {}

for n = 1, #ARGV / FIELDS do
  local old, new, dead_score = unpack(ARGV, (n - 1) * FIELDS + 1, n * FIELDS)
  local was = redis.call('ZSCORE', source, old)
  if not was then
    codes[n] = 0
  else
    redis.call('ZREM', source, old)
    local dies = dead_score ~= ''
    local added = redis.pcall('ZADD', dies and dead or retry, 'NX', dies and dead_score or was, new)
    if added == 1 then
      codes[n] = 1
      if dies then
        -- A copy, in case someone trims the dead set; the job is dead without it too.
        redis.pcall('XADD', parked, 'MAXLEN', '~', PARKED_MAX, '*', 'ticket', 'goretry', 'payload', new)
      end
    else
      redis.call('ZADD', source, was, old)
      codes[n] = type(added) == 'table' and added.err or 'DUP'
    end
  end
end
return codes
