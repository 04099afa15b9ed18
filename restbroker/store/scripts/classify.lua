#!lua flags=allow-oom
-- Moves jobs from a queue's list into the lists of their keys, at one pace for all processes. It takes none.
--
-- KEYS: pace, paused, pause, the queue's list, the target's `held`, `groups` and `stopped`, the queue's `turn`, `line` and
--       `fair` (see parts/keys.lua), the queue's hand
-- ARGV: the queue's name, for how many milliseconds no one else may, what the target says of its keys (JSON), how
--       many bytes a job may have of which a key is read
-- Returns: {'PACE', ms}: another process did this just now; ask again then
--        | {'PAUSED'}: the queue or its target is, or keys are left that were made otherwise
--        | {'OK', moved, jobs left in the list, jobs in lines, how many of the moved have no key of their own}; {'BAD'} if
--          the list is none, or may not be read
-- Sent twice: the second moves more, or answers PACE.

local LOOKED_AT, LOOKED_AT_BYTES = 200, 262144
local pace, paused, pause, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, pace_ms, spec, limit_bytes = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

-- part: clock

-- part: keys

-- part: key_queues

-- part: hand

if redis.call('SISMEMBER', paused, name) == 1 then
  return {'PAUSED'}
end
for _, text in ipairs(redis.call('HVALS', pause)) do
  local until_us = tonumber(text)
  if not until_us or until_us == 0 or until_us > clock_us() then
    return {'PAUSED'}
  end
end
local said, queue = cjson.decode(spec), {ready_keys = KEYS[8], key_queue = KEYS[9], fair = KEYS[10]}
local keys = keys_of(KEYS[5], KEYS[7], {queue}, said.weights)
local why = keys.refusal()
if why then
  return redis.error_reply('WRONGTYPE ' .. why)
elseif (redis.call('GET', KEYS[6]) or '') ~= (said.order or '') then
  -- Nothing is moved before a fetch found that no key is left that was made otherwise.
  return {'PAUSED'}
end
local key_queues = key_queues_of(keys, KEYS[5], KEYS[7], said, limit_bytes)
if not redis.call('SET', pace, '1', 'NX', 'PX', pace_ms) then
  return {'PACE', math.max(1, redis.call('PTTL', pace))}
end
empty_hands(10, 3, 1)
local raws = pop(list, LOOKED_AT, LOOKED_AT_BYTES, true)
if not raws then
  return {'BAD'}
end
local _, _, without_key = key_queues.append(queue, list, raws, 0)
return {'OK', #raws, redis.call('LLEN', list), tonumber(redis.pcall('GET', queue.key_queue)) or 0, without_key}
