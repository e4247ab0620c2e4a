"""Kill the coordinator at random instants under load, and let the participants' ledgers be the judge.

``python -m tests.campaign`` starts participants that misbehave, a load of bookings, and the real server; kills the
server with SIGKILL again and again; lets everything come to an end; and judges. The judge imports neither the
coordinator nor the example: it knows the definitions' documents, the participants' ledgers, what the clients were
told, and the journals as the HTTP API shows them.
"""
