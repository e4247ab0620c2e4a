"""Ledgers for the guard of :mod:`compensations.barrier`, one technology per file."""
