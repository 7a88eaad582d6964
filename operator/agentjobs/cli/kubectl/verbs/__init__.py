"""The verbs, a module for each group: the main module imports only that of the verb that was given."""
