"""Jobs for Python programs: made, enqueued in the program's own transaction, awaited (docs/python.md)."""
