#!lua flags=allow-oom
-- Notes what a login gave, and ends the lock if it is still the holder's. The next one gets it after 5 ms: the plugin
-- makes a stream's id of its clock's milliseconds (read).
--
-- KEYS: logins, lease of the server, streams of the server
-- ARGV: user, holder, stream ('': they were not logged in; with a blank, which no id has: this is not known), target
-- Returns: 2 another user has it, whose session is doubted from now on; the lock stays | 1 it is their stream now |
-- 0 nothing changed; of an unknown login the lock stays
-- Sent twice: the second changes nothing.

-- part: clock

-- No other login has this number.
local number = string.format('%.0f', clock_us())
local user, holder, stream, target = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local state, known = string.match(redis.call('HGET', KEYS[1], user) or '', '^(%a+) %d+ (.*)$')
if redis.call('GET', KEYS[2]) ~= holder then
  return state == 'on' and known == stream and 1 or 0
end
if string.find(stream, ' ', 1, true) then
  if not state or (state == 'off' and known == '') then
    redis.call('HSET', KEYS[1], user, string.format('doubted %s ', number) .. stream)
  end
  return 0
end
if stream ~= '' then
  local theirs, other = string.match(redis.call('HGET', KEYS[3], stream) or '', '^(%S+) (.*)$')
  if other and other ~= user then
    local logins = string.sub(KEYS[1], 1, -1 - #target) .. theirs
    local they, since, has = string.match(redis.call('HGET', logins, other) or '', '^(%a+) (%d+) (.*)$')
    if has == stream then
      if they == 'on' then
        redis.call('HSET', logins, other, string.format('doubted %s ', since) .. stream)
      end
      return 2
    end
  end
  if known and known ~= stream then
    redis.call('HDEL', KEYS[3], known)
  end
  redis.call('HSET', KEYS[3], stream, target .. ' ' .. user)
  redis.call('HSET', KEYS[1], user, string.format('on %s ', number) .. stream)
end
redis.call('SET', KEYS[2], '', 'PX', 5)
return stream ~= '' and 1 or 0
