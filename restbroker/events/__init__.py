"""Receives the events that servers report by themselves, and makes each a job for the application's own workers.

Offers a listener (`webhook`) and readers to `app`; `registry` finds the kind of a source by its name. Always holds: an
event is answered or acknowledged only once Redis has its job. May import `servers` by its contract and what is below.
"""
