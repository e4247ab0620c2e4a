"""Undoing: what is owed, in which order, and the guard a participant puts around its own part of it.

Nothing here knows the coordinator: a service that installs this for :mod:`compensations.barrier` gets no other.
"""
