#!lua flags=allow-oom
-- Puts back what lies in the hands of queues (parts/hand.lua), where both are lists.
--
-- KEYS: the queues' hands, then their lists in the same order
-- Returns: nothing
-- Sent twice: the second finds them empty.

-- part: hand

-- One by one: there may be more queues than Lua passes on in one call (8,000).
for n = 0, #KEYS / 2 - 1 do
  empty_hands(n, #KEYS / 2 + n, 1)
end
