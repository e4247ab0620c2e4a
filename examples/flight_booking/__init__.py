"""Five services that take part in a booking: flights, hotels, payments, cars and tickets.

They know the coordinator only as a client that sends HTTP requests with an idempotency key; nothing here imports it.
Run ``python -m examples.flight_booking`` from the repository's root; see README.md in this folder.
"""
