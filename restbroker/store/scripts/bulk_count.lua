#!lua flags=allow-oom
-- Counts answers to rows of a batch, and takes them off their list in the same step: so each row counts once, no matter
-- who asks, and how often they begin again. A later answer to a row (a person retried its job) takes the place of the
-- first; a row that was done stays done.
--
-- KEYS: the batch's hash, its done rows (a bit for each), its failed rows, the list of answers
-- ARGV: the last element of the list, how many answers at its end are meant, how many seconds the batch is remembered,
--       then for each of these that counts: its row, its code ('' = done)
-- Returns: 1 counted | 0 the last element is another one: another has counted
-- Sent twice: the second finds another element there, or counts rows that count already.

local batch, done, failed, answers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('LINDEX', answers, -1) ~= ARGV[1] then
  return 0
end

-- A row's code is written in two places; 'x:' is before it among the batch's own fields.
local function recount(row, code)
  local was = redis.call('HGET', failed, row)
  if was then
    redis.call('HINCRBY', batch, 'x:' .. was, -1)
  end
  if code == '' then
    redis.call('HDEL', failed, row)
  else
    redis.call('HSET', failed, row, code)
    redis.call('HINCRBY', batch, 'x:' .. code, 1)
  end
end

for at = 4, #ARGV, 2 do
  local row, code = ARGV[at], ARGV[at + 1]
  if code == '' then
    if redis.call('BITFIELD', done, 'SET', 'u1', row, 1)[1] == 0 then
      redis.call('HINCRBY', batch, 'done', 1)
      recount(row, '')
    end
  elseif redis.call('BITFIELD', done, 'GET', 'u1', row)[1] == 0 then
    recount(row, code)
  end
end
redis.call('LTRIM', answers, 0, -tonumber(ARGV[2]) - 1)
for _, key in ipairs({batch, done, failed}) do
  redis.call('EXPIRE', key, ARGV[3])
end
return 1
