"""Wrong versions of the queue's functions, for tests of the tests: a model that passes with one of them sees too little."""

from __future__ import annotations

from queue_builders import sql


async def pass_by_rows_that_were_locked_once(dsn: str) -> None:
    """Claims that do not rescan pass by rows with an xmax: it looks as if only rows locked by others were left out, which
    would be cheaper. But a row that one transaction locked and updated keeps an xmax: jobs that were resumed, promoted or
    admitted are passed by, and others claimed before them."""
    await replace_in(
        dsn, "claim", "w.pos < l.high\n", "w.pos < l.high and (p_low is null or w.xmax::text = '0')\n"
    )


async def replace_in(dsn: str, function: str, right: str, wrong: str) -> None:
    """Replaces a piece of a function's text, which must be there once, in this database."""
    ((text,),) = await sql(
        dsn,
        "select pg_get_functiondef(p.oid) from pg_proc p where pronamespace = 'agentjobs'::regnamespace and proname = %s",
        function,
    )
    assert text.count(right) == 1, f"{function} has changed: {right!r} is there {text.count(right)} times"
    await sql(dsn, text.replace(right, wrong).replace("%", "%%"))
