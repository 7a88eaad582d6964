"""The handlers of the routes: each makes one answer from one call."""
