"""What the connectors of several servers share.

Most connectors are made of a table and functions (`connector`; `kind` for those of other packages): `lookup` the
command, make the request (`table`, `request`) under `guard`, send it, and judge the answer: in the kind's own file
where more than its status counts, else by the status alone (`ladder`). ejabberd and MongooseIM have a `deliver` of
their own, which composes the same. `answer` masks texts for people. `health` judges the probe for the prober and for
`check`, whose other findings come from `checks`. Always holds: nothing here knows which server it speaks to.
"""
