"""What the connectors of several servers share: functions that each composes as it needs them, and no framework.

A connector's `deliver` reads top to bottom in its own file: `lookup` the command, make the request (`table`, `request`)
under `guard`, send it, and judge the answer: in the kind's own file where more than its status counts, else by the
status alone (`ladder`). `answer` masks texts for people. `health` judges the probe for the prober and for `check`,
whose other findings come from `checks`. Always holds: nothing here knows which server it speaks to.
"""
