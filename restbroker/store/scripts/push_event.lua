#!lua
-- Pushes a job for each event that servers told of, in their order, unless the same event came a short time ago, or tells
-- of what this broker sent itself, or is the other copy of one that came; and notes each, without its text, in a stream
-- that `restbroker events tail` reads.
-- The event of a test (`restbroker check --events`) is noted for the one who waits for it, and becomes no job. A full
-- Redis refuses all of it: the sender is to be informed before anything is done.
--
-- KEYS: queues, the stream, then lists and marks as the arguments number them
-- ARGV: how many entries the stream keeps, and how many ms a push may be repeated; then for each event: its list (a
--       place in KEYS), the queue's name, its payload, its job's id, its mark (a place in KEYS, 0 for none), how many ms
--       an event of that mark is the same, when it was read (ms of whoever reads), the mark of what was sent (a place in
--       KEYS, 0 for none), how many ms that counts, the mark of a test (a place in KEYS, 0 for none), what is noted, the
--       list of what came of its pair (a place in KEYS, 0 for none), which of the pair's two copies it is, with the
--       nick that it names, what came last where it was posted (a place in KEYS, 0 for none), and what is equal if the
--       same is posted again. A queue without a name: no one wants the event, unless it is that of a test
-- Returns: for each event 1 (pushed, now or before), 0 (the same came before), 2 (it was sent here), 3 (no one
--          wants it), or why Redis refused
-- Sent twice: an event with a mark is pushed once while its push may be repeated, each other twice. A mark holds the id
--             of the job, when it came, and when it was read; a pair's list has copies of one kind, which wait for one
--             of the other: which copy, when it came, when it was read. What came last, as a mark, has in place of the
--             job's id what is equal: such an event has a mark of its own beside it, by which its push may be repeated.

-- part: clock

local queues, stream, kept, again = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local codes, known, now = {}, {}, math.floor(clock_us() / 1000)

-- Both times count: the clocks of who reads may differ, and what was read at once may come here at long intervals.
local function is_near(came, was_read, window, read)
  return math.min(now - came, math.abs(read - was_read)) < window
end

-- Whether what came last is the same, and came a short time ago: behind another one, it is said again.
local function repeats(last, digest, window, read)
  local of, came, was_read = string.match(redis.call('GET', last) or '', '^(%S+) (%d+) (%d+)$')
  return of == digest and is_near(came, was_read, window, read)
end

-- Whether an event of this mark came before, and if so, what to answer.
local function heard(mark, window, jid, read)
  local found = redis.call('GET', mark)
  if not found then
    return nil
  end
  local by, came, was_read = string.match(found, '^(%S+) (%d+) (%d+)$')
  if by == jid then
    return 1
  end
  if came and is_near(came, was_read, window, read) then
    return 0
  end
  return nil
end

local function remember(mark, window, jid, read)
  redis.call('SET', mark, jid .. ' ' .. now .. ' ' .. read, 'PX', math.max(window, again))
end

-- Whether the other copy of this one waits; then it waits no more. One names the receiver's nick, the other the sender's:
-- where that is the same, someone answers in the words of what came.
local function completes(pair, copy, window, read)
  local kind, nick = string.match(copy, '^(%a+):(%S+)$')
  for _, waits in ipairs(redis.call('LRANGE', pair, 0, 99)) do
    local other, of, came, was_read = string.match(waits, '^(%a+):(%S+) (%d+) (%d+)$')
    local near = is_near(came, was_read, window, read)
    local fits = near and other ~= kind and of ~= nick
    if fits or not near then
      redis.call('LREM', pair, 1, waits)
    end
    if fits then
      return true
    end
  end
  return false
end

local function await_other(pair, copy, window, read)
  redis.call('RPUSH', pair, copy .. ' ' .. now .. ' ' .. read)
  redis.call('PEXPIRE', pair, math.max(window, again))
end

-- The mark of what was sent holds for how long it was written, which some sources may want to be shorter.
local function is_own(mark, window)
  local whole = tonumber(redis.call('GET', mark) or '')
  return whole ~= nil and whole - redis.call('PTTL', mark) < window
end

-- The mark of a test is there while its event is waited for, and a while longer; what came is a line of it.
local function is_of_test(mark, noted)
  local came = redis.call('GET', mark)
  if came and #came < 65536 then
    redis.call('SET', mark, came .. noted .. '\n', 'PX', 3600000)
  end
  return came
end

for n = 3, #ARGV, 15 do
  local list, queue, payload, jid, mark, window, read, own, own_window, test, noted = unpack(ARGV, n, n + 10)
  list, mark, own, window = KEYS[tonumber(list)], KEYS[tonumber(mark)], KEYS[tonumber(own)], tonumber(window)
  test = KEYS[tonumber(test)]
  local pair, copy = KEYS[tonumber(ARGV[n + 11])], ARGV[n + 12]
  local last, digest = KEYS[tonumber(ARGV[n + 13])], ARGV[n + 14]
  local code = test and is_of_test(test, noted) and 2 or queue == '' and 3
  code = code or own and is_own(own, tonumber(own_window)) and 2 or mark and heard(mark, window, jid, read)
  code = code or last and repeats(last, digest, window, read) and 0
  if pair and (not code or code == 2 and not heard(mark, window, jid, read)) then
    if completes(pair, copy, window, read) then
      code = code or 0
      remember(mark, window, jid, read)
    elseif code == 2 then
      -- What was sent here is no event, and its other copy is none either.
      await_other(pair, copy, window, read)
      remember(mark, window, jid, read)
    end
  end
  if code ~= 2 and code ~= 3 and not known[queue] then
    redis.call('SADD', queues, queue)
    known[queue] = true
  end
  if not code then
    local pushed = redis.pcall('LPUSH', list, payload)
    if type(pushed) == 'table' and pushed.err then
      code = pushed.err
    else
      if mark then
        remember(mark, window, jid, read)
      end
      if last then
        remember(last, window, digest, read)
      end
      if pair then
        await_other(pair, copy, window, read)
      end
      redis.pcall('XADD', stream, 'MAXLEN', '~', kept, '*', 'event', noted)
      code = 1
    end
  end
  codes[#codes + 1] = code
end
return codes
