"""The servers: the contracts that the broker and the events use, the registry, and one folder for each server.

`contract` is what a kind of target offers, `event_contract` what a source of events offers; `registry` finds a kind by
its name. Always holds: what belongs to one server is in its folder. May import `transport`, `store` and what is below.
`registry` names kinds of `rosters` and `events` as well, by strings that are read when such a kind is needed.
"""
