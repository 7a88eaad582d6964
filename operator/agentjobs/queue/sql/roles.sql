-- agentjobs: roles of least privilege. `agentjobs migrate roles --print-sql` prints this.
--
-- Run it in the queue's database as an administrator: a superuser, or a role that may create roles and owns the database
-- (and, where the schema is there already, owns it).  psql -1 -v ON_ERROR_STOP=1 -f roles.sql
-- It may be repeated, while workers run. The roles have no password yet, so nobody can log in:
--   alter role @worker@ password '…';                 -- and so on, one each
--   create role @worker@_b login in role @worker@;    -- a second one, to rotate by turns
--
-- @owner@     owns schema agentjobs; runs `agentjobs migrate up --grant-to @prefix@`
-- @worker@    AGENTJOBS_DATABASE_URL of workers
-- @operator@  AGENTJOBS_DATABASE_URL of the operator
-- @web@       AGENTJOBS_DATABASE_URL of the runs API (agentjobs web): what people read, and what they ask for
-- @app@       applications that enqueue, await, cancel, retry and answer jobs (docs/python.md)
-- @sessions@  AGENTJOBS_SESSION_DATABASE_URL of workers: owns schema adk and nothing else
-- @read@      dashboards, KEDA: numbers and names, no text of a job

do $do$
declare v_name text; v_owned record;
begin
  foreach v_name in array array['@owner@', '@worker@', '@operator@', '@web@', '@app@', '@sessions@', '@read@'] loop
    if not exists (select from pg_roles where rolname = v_name) then
      execute format('create role %I login', v_name);
    end if;
  end loop;

  -- a superuser needs no membership to hand things over
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant @owner@, @sessions@ to %I', current_user);
  end if;

  execute format('grant connect, create on database %I to @owner@', current_database());
  execute format('grant connect on database %I to @worker@, @operator@, @web@, @app@, @sessions@, @read@', current_database());

  if to_regnamespace('agentjobs') is null then create schema agentjobs authorization @owner@; end if;
  if to_regnamespace('adk') is null then create schema adk authorization @sessions@; end if;

  -- what another role installed: its functions would otherwise run with that role's rights
  for v_owned in
    select n.nspname as schema, case n.nspname when 'adk' then '@sessions@' else '@owner@' end as owner,
           n.nspowner <> to_regrole(case n.nspname when 'adk' then '@sessions@' else '@owner@' end) as moves
    from pg_namespace n where n.nspname in ('agentjobs', 'adk')
  loop
    if v_owned.moves then execute format('alter schema %I owner to %I', v_owned.schema, v_owned.owner); end if;
    for v_name in
      select format('alter %s %s owner to %I', case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end,
                    c.oid::regclass, v_owned.owner)
      from pg_class c
      where c.relnamespace = to_regnamespace(v_owned.schema) and c.relkind in ('r', 'p', 'v', 'S')
        and c.relowner <> to_regrole(v_owned.owner)
        and not exists (select from pg_depend d where d.objid = c.oid and c.relkind = 'S' and d.deptype in ('a', 'i'))
      union all
      select format('alter function %s owner to %I', p.oid::regprocedure, v_owned.owner)
      from pg_proc p where p.pronamespace = to_regnamespace(v_owned.schema) and p.proowner <> to_regrole(v_owned.owner)
    loop execute v_name; end loop;
  end loop;
end $do$;

-- what is bounded by the connection itself where there is no pooler
alter role @worker@ set statement_timeout = '30s';
alter role @worker@ set idle_in_transaction_session_timeout = '30s';
alter role @operator@ set statement_timeout = '30s';
alter role @operator@ set idle_in_transaction_session_timeout = '30s';
alter role @web@ set statement_timeout = '30s';
alter role @web@ set idle_in_transaction_session_timeout = '30s';
alter role @read@ set statement_timeout = '10s';
alter role @read@ set default_transaction_read_only = on;

-- new functions are nobody's until they are granted
alter default privileges for role @owner@ revoke execute on functions from public;
revoke all on schema adk from public;

