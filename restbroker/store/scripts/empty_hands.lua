#!lua flags=allow-oom
-- Puts back what lies in the hands of queues (parts/hand.lua), where both are lists.
--
-- KEYS: the queues' hands, then their lists in the same order
-- Returns: nothing
-- Sent twice: the second finds them empty.

-- part: hand

empty_hands(0, #KEYS / 2, #KEYS / 2)
