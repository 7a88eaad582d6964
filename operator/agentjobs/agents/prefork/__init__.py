"""Prefork: the work of a run that is done before its executor gets the job.

The template process does most of it, once: ``imports``, ``caches``, ``template``. Each executor does the rest
while it waits as a standby: ``standby``.
"""
