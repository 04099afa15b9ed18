#!lua flags=allow-oom
-- Lets ordered keys go on, as a person or the reaper asks for it.
--
-- KEYS: held, then of all queues of the target their `turn`, their `line`, their `fair`; the target's `stopped` (see
--       parts/keys.lua)
-- ARGV: number of queues, what to do, then per key: key, the score that it must have ('': any)
--       'retry' put off: now
--       'skip'  stopped: the next one may start
--       'free'  in progress, though its job is nowhere: the next one may start
-- Returns: per key 1 done | 0 it is in another state
-- Sent twice: the second answers 0.

-- part: clock

-- part: keys

local count, what, codes, queues = tonumber(ARGV[1]), ARGV[2], {}, {}
local LEAST, MOST = {retry = -1, skip = STOPPED, free = IN_PROGRESS}, {retry = STOPPED, skip = IN_PROGRESS, free = math.huge}
for n = 1, count do
  queues[n] = {ready_keys = KEYS[1 + n], key_queue = KEYS[1 + count + n], fair = KEYS[1 + 2 * count + n]}
end
local keys = keys_of(KEYS[1], KEYS[#KEYS], queues)
local why = keys.refusal()
if why then
  return redis.error_reply('WRONGTYPE ' .. why)
end
for n = 3, #ARGV, 2 do
  local score, wanted = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[n]) or '-2'), tonumber(ARGV[n + 1])
  local is_meant = score >= LEAST[what] and score < MOST[what] and (not wanted or wanted == score)
  codes[#codes + 1] = is_meant and 1 or 0
  if is_meant then
    keys.release({ARGV[n]})
  end
end
return codes
