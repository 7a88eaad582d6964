"""The chaos run: the whole product under load while everything that can fail fails, and a check of all that was promised.

``world`` has the servers and processes, ``load`` the jobs, ``faults`` what happens to them, ``checks`` what must hold
afterwards. ``tests/api/test_chaos.py`` runs them.
"""
