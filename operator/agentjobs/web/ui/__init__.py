"""The dashboard: static pages, their style and script, and a fragment of HTML for each model of the runs API.

    ui/jobs.html ──(htmx, every 5 s)──► ../namespaces/NS/agentruns, Accept: text/html ──► fragments.of(model, page)

* ``pages.DASHBOARD`` is what the API serves: ``asset(name)`` and ``fragment(model, page)``.
* ``templates/`` has the fragments, ``templates/pages/`` the static pages. Autoescape is on for all.
* ``static/`` has our script and style, and htmx as released (``vendored.json``, which
  ``scripts/vendor_web.py`` writes). There is no build and no font: all that a browser loads is less than 40 KB gzipped.
"""
