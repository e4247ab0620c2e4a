"""The definition language: the parts of a definition, how they are written, and every rule they must keep. Pure.

:mod:`saga.definition` is its front: the one way a document becomes a definition.
"""
