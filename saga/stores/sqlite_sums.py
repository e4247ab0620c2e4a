"""Checksums of payloads, so that what a disk has changed is not taken for what was written.

SQLite notices damage to the structure of its file, and with it most of what is indexed; a bit that changes within a
payload it gives back as if it had been written so. A checksum costs a third of a microsecond, and one place in a row.
"""

from __future__ import annotations

from zlib import crc32

from saga.ports.stored import DAMAGED, Message


def of_entry(seq: int, entry: bytes) -> int:
    """Return the checksum of an entry in its place in a journal."""
    return crc32(entry, seq)


def of_document(version: int, document: bytes) -> int:
    """Return the checksum of a version of a definition."""
    return crc32(document, version)


def of_message(message: Message) -> int:
    """Return the checksum of all that makes a message."""
    said = f"{message.id}\0{message.kind}\0{message.by}\0{message.about}\0{float(message.at)!r}\0"
    return crc32(message.body, crc32(said.encode("utf-8", "replace")))


def of_head(labels: str, body: bytes) -> int:
    """Return the checksum of what lists show of a saga."""
    return crc32(body, crc32(labels.encode("utf-8", "replace")))


def is_message(message: Message, kept: int | None) -> bool:
    """Return whether this is the message that was written."""
    return kept is None or (isinstance(message.body, bytes) and of_message(message) == kept)


def is_head(labels: object, body: object, kept: int) -> bool:
    """Return whether this is what was written for lists to show."""
    return isinstance(labels, str) and isinstance(body, bytes) and of_head(labels, body) == kept


def entry_or_damaged(seq: int, entry: object, kept: int | None) -> bytes:
    """Return the entry if it is what was written."""
    whole = isinstance(entry, bytes) and (kept is None or crc32(entry, seq) == kept)
    return entry if whole and isinstance(entry, bytes) else DAMAGED


def document_or_damaged(version: int, document: object, kept: int | None) -> bytes:
    """Return the document if it is what was written."""
    return entry_or_damaged(version, document, kept)
