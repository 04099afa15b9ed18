"""What the connectors of several servers share: functions that each composes as it needs them, and no framework.

A connector's `deliver` reads top to bottom in its own file: `lookup` the command, make the request (`table`, `request`)
under `guard`, send it, and judge the answer: what depends on more than its status in the kind's own file, all else
by a `ladder` of rungs. `answer` masks what people see. `health` judges the probe for the prober and for `check`, whose
other findings come from `checks`. Always holds: nothing here knows which server it speaks to.
"""
