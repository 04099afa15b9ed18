-- What a held key's score says besides a time, when its first job is due: these and a time (parts/keys.lua, store/order.py).
local STOPPED, IN_PROGRESS = 1e12, 2e12
