#!lua flags=allow-oom
-- Settles jobs in progress, each for itself: remove the entry, then its effect; on an error the effects are undone and
-- the entry is put back, because a script does not roll back.
--
-- KEYS: ip, stat:processed, stat:failed, the day's processed, the day's failed, retry, dead, schedule, queues, parked, sent,
--       inflight;
--       the identity's queues, by index;
--       destinations: keys of replies, locks, claims and so on, which ARGV names by their number from 1;
--       with weights: the target's `held`, `groups` and `stopped`, then all `turn`, all `line` and all `fair` of the queues,
--       by index (parts/keys.lua);
--       where jobs are handed on: beats, paused, pause;
--       where there are records: the history
-- ARGV: 1 identity
--       2 hwm, as in fetch
--       3 number of the identity's queues
--       4 number of plain jobs: those that are done, and have nothing else to write
--       5 number of records: 0, or one for each job
--       6 weights of fair keys (JSON), where an ordered key goes on or any key gets a job back; else ''
--       7… where jobs are handed on: the highest ticket number that the client knows of, how many it takes, the one queue's
--       name, the limit of the dead set (0: none) and how many bytes; else '', ''
--       the tickets of the plain jobs
--       per other job: ticket, what becomes of it (JSON, by the names below), payload, the payloads of its replies
--       where there are records: for how many milliseconds they are kept, then in the order of the jobs what is written of
--       each once it is settled ('' = nothing)
-- What becomes of a job, with the names that are of use; `key`, `sets` and `all` are numbers of destinations:
--   fate: ''   it is done
--         zr   to retry
--         zd   to dead
--         zs   to schedule (no try is used up)
--         zx   dropped, as the job itself wished
--         back to its queue, or before the others of its key, as it came, or as its payload if there is one (it has no
--              replies)
--   qidx: its queue
--   score: of zr and zs in how many seconds it is due, of zd its place in the set (text, since it has 16 digits)
--   effect: what its death or loss does to its ordered key: stop (zd) | refused (zd, zx, ''): it neither stops nor opens
--     the key | '': the next job may start
--   replies: {key, queue, ttl_s}: queue is '' for a key that is no queue; ttl_s (seconds) is for such keys only
--   claims: {key, was, becomes, keep_ms, later_ms}: changes of locks and claims. One that has a value in `was` now gets
--     the value `becomes` ('' = it is given up), with the moment in later_ms if there is one, and lasts for keep_ms, or as
--     long as before if that is more; then without a moment at least AT_WORK_MS
--   prints: {key, text, keep_ms, sets, name}: what is recorded of a signed job, in the set `key` for keep_ms; `sets`: the
--     set of its token's sets, `name`: this one's name there
--   count: {key, queue}: of a job that no token admitted, with the key of the counts
--   large: {key, jid, all}: of a job that is too large, with the key that gets its bytes, and the hash of all such keys
-- Returns: {codes, {key, raw...}} where jobs are handed on, else codes
--       codes: per job 1 applied | 2 applied, and the next job of its key may start
--          | 0 was applied before, or the identity was fenced and recovered
--          | 'DUP' an equal member is there already (ZADD would merge two jobs into one): still in progress
--          | an error's text: still in progress
--
-- Always holds: a job is in the hash, or where its fate says; what cannot be undone is written last, and can fail no job.
-- Sent twice: the second answers 0 for each job that the first applied.
--
-- Of an ordered key, zr and zs put the job back before the others, and its score says when they may go on. Handed on: with
-- the answer comes the next job of a key whose plain job is done, where no other key waits in `turn`, and where a fetch
-- would take it.

local FIXED_KEYS, HISTORY_MAX, DAY_STATS_S = 12, 1000000, 157680000
local PRINTS_MAX, TRIMMED_AT_ONCE, NONE = 250000, 1000, {}
-- So long a claim lasts at least while its job is at work (job/claim_changes.py), and no longer for that.
local AT_WORK_MS = 600000
local ip, retry, dead, schedule, queues, parked = KEYS[1], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local sent, in_flight, id = KEYS[11], KEYS[12], ARGV[1]
local hwm, queue_count, plain, records = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local has_keys, weights = ARGV[6] ~= '', ARGV[6]
local next_base, next_want = tonumber(ARGV[7]), tonumber(ARGV[8])
local next_queue, max_dead, next_bytes = ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11])
local at, jobs_end = next_base and 12 or 9, records > 0 and #ARGV - records - 1 or #ARGV
local zsets, due_later = {zr = retry, zd = dead, zs = schedule}, {zr = true, zs = true}
local keys, refusal
local processed, failed, codes, remembered = 0, 0, {}, {}
-- Few worker pools have marks at all; the others pay one read for the whole batch. A wrong type surfaces here.
local has_marks = redis.call('HLEN', sent) > 0
-- Fetch writes it where the jobs in progress are bounded. A broken one stops fetches, and must not hold up settlements.
local has_share = redis.pcall('HEXISTS', in_flight, id) == 1

-- part: clock

local clock_ms
local function now_ms()
  clock_ms = clock_ms or math.floor(clock_us() / 1000)
  return clock_ms
end

-- Reads first: a wrong type surfaces before the first write. No `last`: the hash is gone and must not come back.
local known = redis.call('HMGET', ip, 'last', 'hwm')
if known[1] then
  local new = math.min(hwm, tonumber(known[1]))
  if new > tonumber(known[2] or '0') then
    redis.call('HSET', ip, 'hwm', new)
  end
end

local function destination(number)
  return KEYS[FIXED_KEYS + queue_count + number]
end

local function next_job()
  local job = cjson.decode(ARGV[at + 1])
  job.ticket, job.payload, at = ARGV[at], ARGV[at + 2], at + 3
  if due_later[job.fate] then
    job.score = string.format('%.6f', now_ms() / 1000 + tonumber(job.score))
  end
  for _, reply in ipairs(job.replies or NONE) do
    reply.payload, at = ARGV[at], at + 1
  end
  return job
end

-- part: moves

-- part: keys

local of_queues, beats, paused, pause, busy_keys, by, stopped = {}, nil, nil, nil, nil, nil, nil
if has_keys then
  local last = #KEYS - (records > 0 and 1 or 0) - (next_base and 3 or 0)
  local first = last - 3 * queue_count
  busy_keys, by, stopped = KEYS[first - 2], KEYS[first - 1], KEYS[first]
  beats, paused, pause = KEYS[last + 1], KEYS[last + 2], KEYS[last + 3]
  of_queues = queues_of_keys(first, queue_count)
  keys = keys_of(busy_keys, stopped, of_queues, weights ~= '{}' and cjson.decode(weights))
  refusal = keys.refusal()
end

local function is_ordered(key)
  return string.find(key, '\30', 1, true) ~= nil
end

-- These go before the others of their key, once their replies are out.
local BACK = {back = true, zr = true, zs = true}
local function is_for_key(job)
  if job.key and is_ordered(job.key) then
    return BACK[job.fate]
  end
  return job.key and job.fate == 'back' and not has_order(by)
end

local function move(job, raw)
  if is_for_key(job) then
    return nil
  elseif job.fate == 'back' then
    local list = KEYS[FIXED_KEYS + job.qidx]
    return failure(list, redis.pcall('RPUSH', list, job.payload ~= '' and job.payload or raw))
  end
  return zsets[job.fate] and add_to(zsets[job.fate], job.score, job.payload)
end

local function unmove(job)
  if zsets[job.fate] then
    redis.call('ZREM', zsets[job.fate], job.payload)
  end
end

-- The bytes of a job that is too large stay whole in a key of their own. If the job is not settled after all, nothing
-- names that key, and `store.large` deletes it.
local function keep_bytes(large, raw)
  local all, key = destination(large.all), destination(large.key)
  return failure(all, redis.pcall('HSET', all, large.jid, '')) or failure(key, redis.pcall('SET', key, raw))
end

local function settle(job, raw)
  local why = job.large and keep_bytes(job.large, raw) or move(job, raw)
  if why then
    return why
  end
  for i, reply in ipairs(job.replies or NONE) do
    why = push_to(queues, reply.queue, destination(reply.key), reply.payload, reply.ttl_s)
    if why then
      -- No one saw them yet: blocked readers are served when the script ends.
      for j = i - 1, 1, -1 do
        redis.call('LPOP', destination(job.replies[j].key))
      end
      unmove(job)
      return why
    end
  end
end

-- part: moments

-- What becomes of a lock or claim, if it is still this job's. Like the fingerprint this cannot fail a job whose effects
-- are done.
local function change(claim)
  local key = destination(claim.key)
  local holder = holder_of(redis.pcall('GET', key))
  for _, was in ipairs(claim.was) do
    if holder == was then
      if claim.becomes == '' then
        redis.pcall('DEL', key)
      else
        local new = claim.later_ms and with_moment(claim.becomes, claim.later_ms) or claim.becomes
        local is_long = claim.later_ms or redis.pcall('PTTL', key) > AT_WORK_MS
        redis.pcall('SET', key, new, 'KEEPTTL')
        redis.pcall('PEXPIRE', key, claim.keep_ms, is_long and 'GT' or 'XX')
      end
      return
    end
  end
end

-- Of a signed job that is done its fingerprint stays, so that a copy is not done again. Like the copy of what is
-- dead this cannot fail a job whose effects are done.
local function remember(print)
  local prints, until_ms = destination(print.key), now_ms() + print.keep_ms
  local known = remembered[prints]
  redis.pcall('ZADD', prints, 'GT', string.format('%.0f', until_ms), print.text)
  remembered[prints] = {until_ms = math.max(known and known.until_ms or 0, until_ms), name = print.name,
                        sets = destination(print.sets)}
end

-- What is over goes, then what is over first; and the whole of it when its last one is over.
local function trim(prints, record)
  local ends = string.format('%.0f', record.until_ms)
  redis.pcall('SADD', record.sets, record.name)
  redis.pcall('PEXPIREAT', record.sets, ends, 'NX')
  redis.pcall('PEXPIREAT', record.sets, ends, 'GT')
  local over = redis.pcall('ZRANGEBYSCORE', prints, '-inf', string.format('%.0f', now_ms()), 'LIMIT', 0, TRIMMED_AT_ONCE)
  local count = redis.pcall('ZCARD', prints)
  if over.err or type(count) ~= 'number' then
    return
  end
  local surplus = math.min(count - PRINTS_MAX, TRIMMED_AT_ONCE)
  if surplus > #over then
    over = redis.pcall('ZRANGEBYSCORE', prints, '-inf', '+inf', 'LIMIT', 0, surplus)
  end
  if #over > 0 then
    redis.pcall('ZREM', prints, unpack(over))
  end
  local later = redis.pcall('ZRANGEBYSCORE', prints, '(' .. ends, '+inf', 'LIMIT', 0, 1)
  if #later == 0 then
    redis.pcall('PEXPIREAT', prints, ends)
  end
end

-- Returns the job's code.
local function apply(job)
  local raw = redis.call('HGET', ip, job.ticket)
  if not raw then
    return 0
  end
  job.key = has_keys and key_of(job.ticket)
  if job.key and refusal then
    return refusal
  end
  redis.call('HDEL', ip, job.ticket)
  local why = settle(job, raw)
  if not why and is_for_key(job) then
    local bytes = job.payload ~= '' and job.payload or raw
    why, job.is_ready = keys.put_back(of_queues[job.qidx], job.key, bytes, tonumber(job.score) or 0)
  end
  if why then
    redis.call('HSET', ip, job.ticket, raw)
    return why
  elseif job.key and is_ordered(job.key) and not BACK[job.fate] then
    local effect = (job.effect or '') ~= '' and job.effect or 'go'
    job.is_ready = keys.settle(job.key, effect, effect == 'stop' and jid_of(job.payload))
  end
  return job.is_ready and 2 or 1
end

-- Most jobs of most batches: nothing of theirs can be refused, so their bytes are not needed for putting them back.
local done, freed = {}, {}
for n = 1, plain do
  local ticket = ARGV[at]
  local key = has_keys and key_of(ticket)
  if key and refusal then
    codes[n] = redis.call('HEXISTS', ip, ticket) == 1 and refusal or 0
  else
    codes[n] = redis.call('HDEL', ip, ticket)
    processed = processed + codes[n]
    if key and codes[n] == 1 and is_ordered(key) then
      done[#done + 1], freed[n] = key, key
    end
  end
  if has_marks and codes[n] == 1 then
    redis.call('HDEL', sent, ticket)
  end
  at = at + 1
end
-- With the settlement of a key's last job comes its next one, where no other key waits that may start: a round trip less.
-- The plain jobs are gone by then: what has a wrong type is no error here, and nothing is handed on.
local after, rest = {}, {}
local function take_next()
  if queue_count > 1 or redis.pcall('HEXISTS', beats, id) ~= 1 or tonumber(redis.call('HGET', ip, 'last') or '0') ~= next_base
      or redis.call('EXISTS', pause) == 1 or redis.call('EXISTS', of_queues[1].ready_keys) == 1
      or redis.call('EXISTS', paused) == 1 and redis.pcall('SISMEMBER', paused, next_queue) ~= 0
      or max_dead > 0 and (tonumber(redis.pcall('ZCARD', dead)) or max_dead) >= max_dead then
    rest = done
    return
  end
  local fields, holding = {}, {}
  for n, key in ipairs(done) do
    local key_queue = of_queues[1].key_queue .. '\30' .. key
    local raw = n <= next_want and redis.pcall('RPOP', key_queue)
    next_bytes = next_bytes - (type(raw) == 'string' and #raw or 0)
    if type(raw) == 'string' and next_bytes < 0 then
      redis.call('RPUSH', key_queue, raw)
      rest[#rest + 1] = key
    elseif type(raw) == 'string' then
      after[#after + 1], after[#after + 2] = key, raw
      next_base = next_base + 1
      fields[#fields + 1], fields[#fields + 2] = string.format('%.0f', next_base) .. ':1:' .. key, raw
      holding[#holding + 1], holding[#holding + 2] = keys.in_progress, key
    else
      rest[#rest + 1] = key
    end
  end
  if #fields > 0 then
    fields[#fields + 1], fields[#fields + 2] = 'last', string.format('%.0f', next_base)
    -- They may reach a worker at once.
    if math.min(hwm, next_base) > tonumber(known[2] or '0') then
      fields[#fields + 1], fields[#fields + 2] = 'hwm', string.format('%.0f', math.min(hwm, next_base))
    end
    redis.call('HSET', ip, unpack(fields))
    redis.call('ZADD', busy_keys, unpack(holding))
    if redis.call('EXISTS', stopped) == 1 then
      redis.call('HDEL', stopped, unpack(done))
    end
    keys.count(of_queues[1], -#after / 2)
  end
end

if #done > 0 then
  rest = done
  if next_base and not refusal then
    rest = {}
    take_next()
  end
  local ready = #rest > 0 and keys.release(rest) or {}
  for n, key in pairs(freed) do
    codes[n] = ready[key] and 2 or 1
  end
end

while at <= jobs_end do
  local n, job = #codes + 1, next_job()
  codes[n] = apply(job)
  if codes[n] == 1 or codes[n] == 2 then
    if has_marks then
      redis.call('HDEL', sent, job.ticket)
    end
    if job.fate ~= 'back' and job.fate ~= 'zs' then
      processed = processed + 1
      failed = failed + (job.fate == '' and 0 or 1)
    end
    for _, claim in ipairs(job.claims or NONE) do
      change(claim)
    end
    for _, print in ipairs(job.prints or NONE) do
      remember(print)
    end
    if job.count then
      redis.pcall('HINCRBY', destination(job.count.key), job.count.queue, 1)
    end
    if zsets[job.fate] == dead then
      local copy = keep_copy(parked, job.ticket, job.payload)
      if job.large and type(copy) == 'string' then
        redis.pcall('HSET', destination(job.large.all), job.large.jid, copy)
      end
    end
  end
end

for prints, record in pairs(remembered) do
  trim(prints, record)
end

if has_share then
  -- Counted again, so that it cannot drift.
  known = redis.call('HMGET', ip, 'last', 'hwm')
  redis.call('HSET', in_flight, id, redis.call('HLEN', ip) - (known[1] and 1 or 0) - (known[2] and 1 or 0))
end

-- Counters come last and cannot fail a batch whose effects are done.
local function count(total, day, by)
  if by > 0 then
    redis.pcall('INCRBY', total, by)
    redis.pcall('INCRBY', day, by)
    redis.pcall('EXPIRE', day, DAY_STATS_S)
  end
end
count(KEYS[2], KEYS[4], processed)
count(KEYS[3], KEYS[5], failed)

-- Nor does what is written of jobs for those who ask later: a timeline without its end costs no job.
if records > 0 then
  local history, keep_ms = KEYS[#KEYS], tonumber(ARGV[jobs_end + 1])
  for n = 1, records do
    local record = ARGV[jobs_end + 1 + n]
    if (codes[n] == 1 or codes[n] == 2) and record ~= '' then
      redis.pcall('XADD', history, 'MAXLEN', '~', HISTORY_MAX, '*', 'end', record)
    end
  end
  redis.pcall('XTRIM', history, 'MINID', '~', string.format('%.0f', now_ms() - keep_ms))
  redis.pcall('PEXPIRE', history, string.format('%.0f', keep_ms))
end
if next_base then
  return {codes, after}
end
return codes
