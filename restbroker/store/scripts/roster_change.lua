#!lua
-- Writes rosters, all changes or none, and has each user refreshed whose roster is another one then: they are marked as
-- dirty, and their refresh job is pushed, unless their mark says that one is on its way.
--
-- KEYS: rosters, dirty, queues, queue, then the roster of each change that writes
-- ARGV: most contacts, most bytes, queue's name ('' = no refreshes: neither marks nor jobs), then per change:
--       user, job ('' for no refresh), what ('write' | 'whole': what is put replaces all | 'forget': all goes,
--       also the version | 'mark': refreshed without a change), number of JIDs to drop, number of JIDs to put, then
--       those to drop, then JID and contact of those to put
-- Returns: {'OK', per change its version (0: forgotten, or marked only)} |
--          {'LARGE', change (from 1)}: nothing was written, as that roster would be too large
-- A mark: 'first last pushed pushes', ms of the first and the last change, of the last push, and how many there were.
-- Jobs that a person takes out of the queue may be refreshes: a mark that is older than a minute has the next
-- change push another one, then after two, four, … minutes, up to an hour.
-- Sent twice: the second changes nothing, and so marks and pushes nothing. A 'mark' may then be pushed once more if a
-- refresh took it meanwhile.
-- No two changes of one call may be about the same user.

-- part: clock

local FIXED_KEYS, FIXED_ARGV, FIELDS = 4, 3, 5
local AGAIN_MS, LONGEST_MS = 60000, 3600000
local rosters, dirty, queues, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local most_contacts, most_bytes, queue = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now_ms = math.floor(clock_us() / 1000)

local function size_of(jid, contact)
  return #jid + #contact
end

-- What there is of a user: version, and bytes in their roster.
local function known(user)
  local value = redis.call('HGET', rosters, user) or ''
  local version, bytes = string.match(value, '^(%d+) (%d+)$')
  return tonumber(version or 0), tonumber(bytes or 0)
end

-- The writes that a change comes to, without any; or why it cannot be.
local function planned(change)
  local version, bytes = known(change.user)
  local key, count = change.key, redis.call('HLEN', change.key)
  local plan = {put = {}, drop = {}, version = version, bytes = bytes}
  if change.what == 'forget' then
    plan.altered = count > 0 or version > 0
    return plan
  end
  local stays = {}
  for _, pair in ipairs(change.put) do
    local jid, contact = pair[1], pair[2]
    local was = redis.call('HGET', key, jid)
    stays[jid] = true
    if was ~= contact then
      plan.put[#plan.put + 1] = pair
      plan.bytes = plan.bytes + size_of(jid, contact) - (was and size_of(jid, was) or 0)
      count = count + (was and 0 or 1)
    end
  end
  local drop = change.what == 'whole' and redis.call('HKEYS', key) or change.drop
  for _, jid in ipairs(drop) do
    local was = not stays[jid] and redis.call('HGET', key, jid)
    if was then
      stays[jid] = true
      plan.drop[#plan.drop + 1] = jid
      plan.bytes = plan.bytes - size_of(jid, was)
      count = count - 1
    end
  end
  plan.altered = #plan.put + #plan.drop > 0
  if #plan.put > 0 and (count > most_contacts or plan.bytes > most_bytes) then
    return nil, {'LARGE', change.number}
  end
  return plan
end

local function write(change, plan)
  if change.what == 'forget' then
    redis.call('DEL', change.key)
    redis.call('HDEL', rosters, change.user)
    return 0
  end
  for _, jid in ipairs(plan.drop) do
    redis.call('HDEL', change.key, jid)
  end
  for _, pair in ipairs(plan.put) do
    redis.call('HSET', change.key, pair[1], pair[2])
  end
  -- A whole roster that is empty is known from then on.
  if plan.altered or plan.version == 0 and change.what == 'whole' then
    plan.version = plan.version + 1
    redis.call('HSET', rosters, change.user, string.format('%.0f %.0f', plan.version, math.max(0, plan.bytes)))
  end
  return plan.version
end

local function mark(change)
  local value = redis.call('HGET', dirty, change.user) or ''
  local first, pushed, pushes = string.match(value, '^(%d+) %d+ (%d+) (%d+)$')
  first, pushed, pushes = tonumber(first or now_ms), tonumber(pushed or 0), tonumber(pushes or 0)
  -- A clock that was set back does not keep a mark for ever.
  local age_ms = math.abs(now_ms - pushed)
  if pushes == 0 or age_ms >= math.min(LONGEST_MS, AGAIN_MS * 2 ^ (pushes - 1)) then
    redis.call('SADD', queues, queue)
    redis.call('LPUSH', list, change.job)
    pushed, pushes = now_ms, pushes + 1
  end
  redis.call('HSET', dirty, change.user, string.format('%.0f %.0f %.0f %.0f', first, now_ms, pushed, pushes))
end

local changes, at, number_of_keys = {}, FIXED_ARGV + 1, FIXED_KEYS
while at <= #ARGV do
  local user, job, what, drops, puts = unpack(ARGV, at, at + FIELDS - 1)
  local change = {number = #changes + 1, user = user, job = job, what = what, drop = {}, put = {}}
  at = at + FIELDS
  for n = 1, tonumber(drops) do
    change.drop[n], at = ARGV[at], at + 1
  end
  for n = 1, tonumber(puts) do
    change.put[n], at = {ARGV[at], ARGV[at + 1]}, at + 2
  end
  if what ~= 'mark' then
    number_of_keys = number_of_keys + 1
    change.key = KEYS[number_of_keys]
  end
  changes[#changes + 1] = change
end

-- Everything is looked at before anything is written: a key of another type ends the script here.
redis.call('HLEN', dirty)
if queue ~= '' then
  redis.call('SCARD', queues)
  redis.call('LLEN', list)
end
for _, change in ipairs(changes) do
  if change.what ~= 'mark' then
    local plan, refused = planned(change)
    if refused then
      return refused
    end
    change.plan = plan
  end
end

local reply = {'OK'}
for n, change in ipairs(changes) do
  local plan = change.plan
  reply[n + 1] = plan and write(change, plan) or 0
  if queue ~= '' and (not plan or plan.altered) then
    mark(change)
  end
end
return reply
