"""Deterministic simulation: whole coordinators in virtual time, with everything around them failing by one seed.

``python -m tests.simulation`` runs worlds. In each, up to three coordinators (the real engine, worker, membership,
intake, post and sender) share one store; coordinators crash between any two awaits, hang for longer than their lease
and disagree about the time; the store fails before and after it has acted; participants misbehave. After the last
fault everything has to come to its end, and is judged by the participants' ledgers and by the journals.
A world is a function of its seed: ``--replay SEED`` runs it again, to the same byte.
"""
