"""Journals that were stopped at every kind of point, as each format of journals has written them; kept for ever.

Under ``<format>/`` stands one file for each point: a normalised definition, and the entries of one saga as they are
stored. ``python -m tests.journals`` adds a file for every point that has none, and its hash to ``manifest.json``;
a file that is there is never written again. A release that cannot read or finish one of them has broken the
journals of those who run it: it is the release that has to be mended, never the file.
"""
