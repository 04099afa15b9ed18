#!lua
-- Deals with one moment at which a periodic command is due, once for all processes: pushes its job, or counts why not.
-- Without a moment, it begins with a schedule: what was due before, or by another schedule, is not due any more.
--
-- KEYS: periodic, pauses of periodic commands, queues, the queue's list and, if the job has one, its lock
-- ARGV: name, schedule (hexadecimal), the mark that the caller knows, moment (epoch seconds; '' = begin), how many
--       seconds late it may be, how many moments lie between the two, jid, queue's name, payload, for how many
--       milliseconds the lock lasts, the lock's value whose job was looked for ('' = none), and whether that was nowhere
--       ('1': then the lock is taken over)
-- Returns: {begun | early (the moment is still to come) | done (by another caller) | other (mark: count anew) | pushed |
--          missed (too late) | paused | overlap | look (for the job of the lock's value, which is the third), mark}
--          | an error's text: nothing was pushed, and the moment is still due
-- Sent twice: the second answers done. Full Redis: refused as a whole, so that the moment is late, and not lost.

local periodic, pauses, queues, list, lock = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local name, schedule, known, moment, late_s, between, jid, queue, payload, lock_ms, looked_for, nowhere = unpack(ARGV)
local LOOKS_S = 15

-- part: clock

-- part: moments

local now_us = clock_us()
local now_s = math.floor(now_us / 1000000)
local record = redis.call('HGET', periodic, name)
local digest, mark = string.match(record or '', '^(%x+) (%d+)$')
mark = tonumber(mark or '0')

local function marked(as, at_s)
  redis.call('HSET', periodic, name, string.format('%s %.0f', as, at_s))
end

if not digest or (moment == '' and digest ~= schedule) then
  mark = math.max(mark, now_s)
  marked(schedule, mark)
  return {'begun', mark}
end
if moment == '' then
  return {'begun', mark}
end
local tick = tonumber(moment)
if tick > now_s then
  return {'early', mark}
elseif tick <= mark then
  return {'done', mark}
elseif mark ~= tonumber(known) then
  return {'other', mark}
end

local outcome, about = 'pushed', jid
local pause = redis.call('HGET', pauses, name)
local until_us = tonumber(string.match(pause or '', '^%d+ (%d+) ') or '0')
local value = lock and redis.call('GET', lock)
local holder, held_since = holder_of(value)
if pause and (until_us == 0 or until_us > now_us) then
  outcome = 'paused'
elseif now_s - tick > tonumber(late_s) + (looked_for == '' and 0 or LOOKS_S) then
  outcome = 'missed'
elseif holder and holder ~= jid and not (value == looked_for and nowhere == '1') then
  if is_stale(held_since) and value ~= looked_for then
    return {'look', mark, value}
  end
  outcome, about = 'overlap', holder
end

-- part: moves

local function failed()
  local why = lock and failure(lock, redis.pcall('SET', lock, with_moment(jid, 0), 'PX', lock_ms))
  why = why or push_to(queues, queue, list, payload)
  if why and lock and holder ~= jid then
    redis.pcall('DEL', lock)
  end
  return why
end

-- Whatever this user may not do ends the script before the job is anywhere.
marked(digest, tick)
local why = outcome == 'pushed' and failed()
if why then
  redis.call('HSET', periodic, name, record)
  return why
end

-- For people: a note that another hand has spoilt must not keep jobs back.
local function note(...)
  redis.pcall(...)
end
local missed = outcome == 'paused' and 0 or tonumber(between) + (outcome == 'missed' and 1 or 0)
local skipped = outcome == 'paused' and tonumber(between) + 1 or outcome == 'overlap' and 1 or 0
for kind, count in pairs({missed = missed, skipped = skipped}) do
  if count > 0 then
    note('HINCRBY', periodic, name .. ' ' .. kind, count)
  end
end
if outcome == 'pushed' then
  note('HSET', periodic, name .. ' push', string.format('%.0f %s', now_s, jid))
end
note('HSET', periodic, name .. ' tick', string.format('%s %s', outcome, about))
return {outcome, tick}
