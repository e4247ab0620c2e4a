"""Fuzzing: what nobody would write by hand, sent to the API of a real process and given to every reader of text.

``python -m tests.fuzz --calls N`` makes so many calls and prints one page; ``pytest tests/fuzz`` is a short version.
"""
