"""The core: what has happened to a saga, what is due next, and how it is shown. Pure: no clock, no await.

Read :mod:`saga.core.entries`, then :mod:`saga.core.journal`, then :mod:`saga.core.decider`.
"""
