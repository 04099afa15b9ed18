#!lua flags=allow-oom
-- Claims, before their first byte leaves, what jobs in hand must be the only ones to do; and gives up what they held
-- until then.
--
-- KEYS: beats, ip, then claims and locks
-- ARGV: identity, then per job: ticket, how many changes, and per change: key (index from 1 among the claims and locks),
--         value ('' = it is given up), for how many milliseconds, how many values it may have now, these values
--       (without a moment: see parts/moments.lua). What is claimed may also be free; what is given up may be in other
--       hands, and stays there.
-- Returns: 'FENCED' | per job 1 claimed (now or before) | 0 not in hand (any more): it must not be sent | {value, in how
--          many milliseconds that job is tried again, or ''} what another one holds a claim by: nothing was given up
--          | {} a claim's key is of another type
-- Sent twice: changes nothing but for how long it lasts.

local FIXED_KEYS = 2
local codes, at = {}, 2

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'FENCED'
end

-- part: clock

-- part: moments

local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

local function next_job()
  local job = {ticket = next_argument(), changes = {}}
  for i = 1, tonumber(next_argument()) do
    local change = {key = KEYS[FIXED_KEYS + tonumber(next_argument())], value = next_argument(), ms = next_argument(),
                    own = {}}
    for _ = 1, tonumber(next_argument()) do
      change.own[next_argument()] = true
    end
    job.changes[i] = change
  end
  return job
end

local function claim(job)
  for _, change in ipairs(job.changes) do
    local value = redis.pcall('GET', change.key)
    if type(value) == 'table' then
      return {}
    end
    local holder, moment = holder_of(value)
    local is_own = change.own[value] or change.own[holder]
    if change.value == '' then
      if is_own then
        redis.call('DEL', change.key)
      end
    elseif value and not is_own then
      return {value, moment and string.format('%.0f', (moment - clock_us()) / 1000) or ''}
    else
      redis.call('SET', change.key, change.value, 'PX', change.ms)
    end
  end
  return 1
end

while at <= #ARGV do
  local job = next_job()
  codes[#codes + 1] = redis.call('HEXISTS', KEYS[2], job.ticket) == 1 and claim(job) or 0
end
return codes
