"""The HTTP API: handlers, wire models, and errors as problem documents."""
