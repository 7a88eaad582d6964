"""Installs the functions of a release, and what their callers may do. Both keep whom somebody granted them to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import errors

from agentjobs.database.connection import Connection
from agentjobs.queue.errors import GrantRefused
from agentjobs.queue.migration_session import value
from agentjobs.queue.release import functions
from agentjobs.queue.roles import filled

_SEAL = """
do $$ declare f regprocedure; begin
  for f in select p.oid from pg_proc p where p.pronamespace = 'agentjobs'::regnamespace and p.provolatile <> 'i'
             and not coalesce(array_to_string(p.proconfig, ',') like '%search_path%', false)
  loop execute format('alter function %s set search_path = agentjobs, pg_temp', f); end loop;
end $$"""
"""Callers keep their own search_path; immutable ones stay free of it so that they are inlined."""
_EXISTING = """
select p.oid, p.xmin::text, p.proname, p.prosecdef,
       array(select distinct a.grantee::regrole::text from aclexplode(p.proacl) a
             where a.privilege_type = 'EXECUTE' and a.grantee not in (0, p.proowner) order by 1)
from pg_proc p where p.pronamespace = to_regnamespace('agentjobs')"""
_PREFIXES = """
select w.prefix from (
  select left(r.rolname, -length('_worker')) as prefix from pg_namespace n, aclexplode(n.nspacl) a join pg_roles r on r.oid = a.grantee
  where n.nspname = 'agentjobs' and a.privilege_type = 'USAGE' and r.rolname like '%\\_worker') w
where to_regrole(quote_ident(w.prefix || '_operator')) is not null and to_regrole(quote_ident(w.prefix || '_read')) is not null
order by 1"""


@dataclass(frozen=True, slots=True)
class Function:
    oid: int
    xmin: str
    name: str
    definer: bool
    grantees: tuple[str, ...]


async def existing(conn: Connection) -> list[Function]:
    """All functions of the schema."""
    rows = await (await conn.execute(_EXISTING)).fetchall()
    return [
        Function(oid, xmin, name, definer, tuple(grantees)) for oid, xmin, name, definer, grantees in rows
    ]


async def _signature(conn: Connection, oid: int) -> str:
    return str(await value(conn, f"select {oid}::regprocedure::text"))


async def install(conn: Connection, text: str, before: Iterable[Function]) -> None:
    """Creates all functions of the text, drops the others, seals. A function keeps its identity where it can, so that a
    caller that has just looked it up still finds it, and whom it was granted to.

    ``before``: the functions before this transaction touched them.
    """
    before = list(before)
    try:
        async with conn.transaction():
            await conn.execute(text.encode())
    except errors.InvalidFunctionDefinition:
        for name, statement in functions(text):
            await _create(conn, statement, [f for f in before if f.name == name])
    await _drop_old(conn, before)
    await conn.execute(_SEAL)
    # what `create` took away, or went with a function that was dropped: by name
    for function in await existing(conn):
        old = [f for f in before if f.name == function.name]
        definer = any(f.definer for f in old)
        roles = sorted({role for f in old for role in f.grantees} - set(function.grantees))
        if definer or roles:
            name = await _signature(conn, function.oid)
            if definer:
                await conn.execute(f"alter function {name} security definer".encode())
            for role in roles:
                await conn.execute(f"grant execute on function {name} to {role}".encode())


async def _create(conn: Connection, statement: str, old: Iterable[Function]) -> None:
    try:
        async with conn.transaction():
            await conn.execute(statement.encode())
    except errors.InvalidFunctionDefinition:
        await _drop_old(conn, old)  # it returned something else, or its arguments had other names
        await conn.execute(statement.encode())


async def drop(conn: Connection, those: Iterable[Function]) -> None:
    for function in those:
        await conn.execute(f"drop function {await _signature(conn, function.oid)}".encode())


async def _drop_old(conn: Connection, before: Iterable[Function]) -> None:
    """Drops those that were not created anew: the row is still the one that it was."""
    same = {(f.oid, f.xmin) for f in await existing(conn)}
    await drop(conn, [f for f in before if (f.oid, f.xmin) in same])


async def prefixes(conn: Connection) -> list[str]:
    """The prefixes of the roles that may use the schema, as its rights tell."""
    return [str(prefix) for (prefix,) in await (await conn.execute(_PREFIXES)).fetchall()]


async def grant(conn: Connection, grants: str, to: Iterable[str]) -> None:
    """Gives the roles of these prefixes what they may do, and nothing else."""
    try:
        for prefix in sorted(to):
            await conn.execute(filled(grants, prefix).encode())
    except (errors.UndefinedObject, errors.InsufficientPrivilege) as error:
        raise GrantRefused(
            f"roles: {error.diag.message_primary}; an administrator makes them with the output of "
            "`agentjobs migrate roles --print-sql`, and the schema's owner grants"
        ) from error
