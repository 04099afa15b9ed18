#!lua
-- Pushes a job for each event that servers told of, in their order, unless the same event came a short time ago; and
-- notes each, without its text, in a stream that `restbroker events tail` reads. A full Redis refuses all of it: the
-- sender is to be told, before anything is done.
--
-- KEYS: queues, the stream, then lists and marks as the arguments number them
-- ARGV: how many entries the stream keeps, then for each event: its list (a place in KEYS), the queue's name, its
--       payload, its mark (a place in KEYS, 0 for none), how many ms that counts, what is noted
-- Returns: for each event 1 (pushed), 0 (it came before), or why Redis refused
-- Sent twice: an event with a mark is pushed once while that counts, each other twice.

local queues, stream, kept = KEYS[1], KEYS[2], ARGV[1]
local codes, known = {}, {}
for n = 2, #ARGV, 6 do
  local list, queue, payload, mark, window, noted = unpack(ARGV, n, n + 5)
  list, mark = KEYS[tonumber(list)], KEYS[tonumber(mark)]
  if not known[queue] then
    redis.call('SADD', queues, queue)
    known[queue] = true
  end
  if mark and not redis.call('SET', mark, '', 'NX', 'PX', window) then
    codes[#codes + 1] = 0
  else
    local pushed = redis.pcall('LPUSH', list, payload)
    if type(pushed) == 'table' and pushed.err then
      if mark then
        redis.call('DEL', mark)
      end
      codes[#codes + 1] = pushed.err
    else
      redis.pcall('XADD', stream, 'MAXLEN', '~', kept, '*', 'event', noted)
      codes[#codes + 1] = 1
    end
  end
end
return codes
