"""What a client may do to a coordinator at any time, held against a small model of what the contract says.

A Hypothesis machine drives a whole application over its HTTP API: starts, commands, callbacks, participants that
answer so or so, time that passes, restarts and crashes. After each step the live state is held against the replay of
the journal that the API shows, and every answer against its description.
"""
