"""What the engine needs of the outside: a store, an invoker, a clock, and somebody to tell.

The ports speak of sagas, not of rows or requests, and their values are plain and frozen.
Times are seconds since the epoch (UTC) as ``float``; durations are seconds as ``float``.
An adapter raises nothing but the errors of :mod:`saga.errors`.
"""
