"""``agentjobs web``: the runs API, an aggregated API ``runs.agentjobs.dev/v1alpha1``, and the dashboard's data.

    a request ──► path and verb (routes) ──► who (doors) ──► may they (authorise) ──► a handler ──► one model
                                                                                                     │
                                                    by Accept: JSON · Table · HTML fragment · text ◄─┘

Each route is one row of the table in ``routes``: discovery, OpenAPI, the roles and the test matrix are made from it.

**The seam for the dashboard.** Package ``web.ui`` holds a ``Dashboard`` (``web.view``), named ``DASHBOARD`` in
``web/ui/pages.py``: two pure methods, which import only ``web.view`` and ``web.objects`` of this package.

* ``asset(name)``: static files. ``GET /apis/runs.agentjobs.dev/v1alpha1/ui/<name>``, flat names, links between them
  relative (``jobs.html``, ``style.css``); a page's data is at ``../namespaces/NS/agentruns`` and the like. They are
  served to every authenticated user, so they hold no data. ETag, the strict CSP and nosniff are added here.
* ``fragment(model, page)``: every data route, asked with ``Accept: text/html``, hands over the model that its JSON is made
  from (``web.objects``: ``AgentRunList``, ``AgentRun``, ``RunAttempts``, ``QueueStatList`` …). Dispatch on
  ``type(model)`` and ``page.part`` (query parameter ``part=…``, free for the dashboard's own use). None: 406.
  Errors come as an HTML fragment ``<p class="error" role="alert">…</p>`` with the error's status.
* Streams, for ``EventSource`` and htmx's hx-sse: a list with ``?watch=true`` and ``Accept: text/event-stream`` sends
  ``event: added|modified|deleted`` per object, and ``event: bookmark`` when nothing happened for a while;
  ``agentruns/NAME/log?follow=true`` sends ``event: entry`` per line or entry, and ``event: end`` when the run has ended.
  ``data:`` is the object's JSON; with ``?part=…`` it is ``fragment(model, page)`` with ``page.event`` set.
  ``id:`` can be sent back as ``Last-Event-ID``: a log goes on from there.
* Acts on objects are the user's own requests to the Kubernetes API (``PATCH`` at ``agentjobs.dev``). Acts of this API
  are ``POST`` with JSON: ``namespaces/NS/runactions`` (``?dryRun=All``: only the count), ``queueactions``,
  ``namespaces/NS/erasures``.
"""
