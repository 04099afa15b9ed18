#!lua flags=allow-oom
-- Gives jobs that the Go original had in progress back to their queue, each for itself and byte for byte.
--
-- KEYS: the original's list, queue's list, queues, recovered (of the day), recovered version
-- ARGV: queue name, how many at most (at most 200), a name for the holder
-- Returns: {how many were moved, '' | an error's text: the rest is still where it was}
--
-- The original's list has the newest at its head. Moving head first, each to the end that jobs are taken from, leaves
-- the oldest next in line, wherever it stops. All of them may have run: each is counted by the SHA-1 of its bytes,
-- once per name, as recover does. Sent twice: the second moves the next ones; no job moves twice.

local MOST, KEEP_S = 200, 259200
local source, list, day = KEYS[1], KEYS[2], KEYS[4]
local name, want, id = ARGV[1], math.min(tonumber(ARGV[2]), MOST), ARGV[3]
local moved, why = 0, ''

-- Wrong types surface here, before the first write.
for _, look in ipairs({{'LLEN', source}, {'LLEN', list}, {'HLEN', day}}) do
  local seen = redis.pcall(unpack(look))
  if type(seen) == 'table' and seen.err then
    return {0, seen.err}
  end
end

local function count(raw)
  local digest = redis.sha1hex(raw)
  local before, by = string.match(redis.call('HGET', day, digest) or '0/0/0:', '^(%d+)/%d+/%d+:(.*)$')
  if by ~= id then
    -- Their holder wrote no marks, so that what must not run twice may have been sent: "!" says so.
    redis.call('HSET', day, digest, string.format('%d/0/0:%s', tonumber(before or '0') + 1, id), '!' .. digest, '1/0/0:')
  end
end

while moved < want do
  local raw = redis.call('LPOP', source)
  if not raw then
    break
  end
  local pushed = redis.pcall('RPUSH', list, raw)
  if type(pushed) == 'table' and pushed.err then
    redis.call('LPUSH', source, raw)
    why = pushed.err
    break
  end
  moved = moved + 1
  count(raw)
end
if moved > 0 then
  -- Only Sidekiq Web needs the name, so a refusal must not cost the jobs.
  redis.pcall('SADD', KEYS[3], name)
  redis.pcall('EXPIRE', day, KEEP_S)
  redis.pcall('INCR', KEYS[5])
end
return {moved, why}
