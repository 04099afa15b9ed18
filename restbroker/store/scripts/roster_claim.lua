#!lua flags=allow-oom
-- Begins refreshes of users: of each who is due, and whom no one else refreshes at this moment.
-- A full Redis lets them begin too: a refresh takes marks away.
--
-- KEYS: dirty, flights
-- ARGV: holder (new for each claim), lease (ms), debounce (ms), longest wait (ms), up to 2,000 users
-- Returns: per user 0 begun | n > 0: due in n ms | n < 0: another has them for -n ms more, at most
-- A user without a mark is due at once. Their mark goes as the refresh begins: changes from then on mark
-- them again. A refresh counts until its lease ends: then its holder is dead, or its answer is not waited for any more.
-- Sent twice: the second says the same, and the leases begin again.

-- part: clock

local dirty, refreshes = KEYS[1], KEYS[2]
local holder, lease_ms, debounce_ms, longest_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now_ms = math.floor(clock_us() / 1000)
local refresh = string.format('%.0f ', now_ms + lease_ms) .. holder

local function due_in_ms(mark)
  local first, last = string.match(mark or '', '^(%d+) (%d+) ')
  if not first then
    return 0
  end
  local due_ms = math.min(first + longest_ms, last + debounce_ms)
  -- No mark is made in the future: a clock that was set back would let it wait until it is there.
  return tonumber(last) > now_ms and 0 or math.max(0, due_ms - now_ms)
end

local users = {unpack(ARGV, 5)}
local reply, noted, taken = {}, {}, {}
if #users > 0 then
  -- All of them in one go: each call from here costs Redis as much as what it does for one user.
  local flying, marks = redis.call('HMGET', refreshes, unpack(users)), redis.call('HMGET', dirty, unpack(users))
  for n, user in ipairs(users) do
    local until_ms, by = string.match(flying[n] or '', '^(%d+) (.*)$')
    local left_ms = math.min(tonumber(until_ms or 0) - now_ms, lease_ms)
    if left_ms > 0 and by ~= holder then
      reply[n] = -left_ms
    else
      reply[n] = left_ms > 0 and 0 or due_in_ms(marks[n])
      if reply[n] == 0 then
        noted[#noted + 1] = user
        noted[#noted + 1] = refresh
        -- Not when asked again: by now it may be the mark of a later change.
        if left_ms <= 0 and marks[n] then
          taken[#taken + 1] = user
        end
      end
    end
  end
end
if #noted > 0 then
  redis.call('HSET', refreshes, unpack(noted))
end
if #taken > 0 then
  redis.call('HDEL', dirty, unpack(taken))
end
return reply
