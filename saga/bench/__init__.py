"""The benchmark: sagas a second, beside a bare service that makes the same calls with nothing durable.

Everything is a process of its own: participants, the load, the trace collector, the coordinator and the yardstick.
"""
