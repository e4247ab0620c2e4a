"""Kill the coordinator at every point that has a name, each in turn, and let the participants' ledgers be the judge.

``python -m tests.crash_points`` starts the real server with one point armed from outside (the product has no switch
for it), lets it be killed there, starts it again, brings everything to an end and judges as the campaign does. The
points are not listed but derived (:mod:`tests.crash_points.points`): a new verb, statement or migration is a new
point, and one that is never reached is a failure.
"""
