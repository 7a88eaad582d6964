"""What the template process does once, before executors are forked from it."""
