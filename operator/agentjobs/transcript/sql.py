"""The SQL of transcripts: reads of ADK's tables and of artifacts, each of one session, or of the revisions of several.

Every name has its schema, since a pooler in transaction mode keeps no search path. Index: events by
idx_events_app_user_session_ts_id, read backwards; sessions and artifacts by primary key. No statement takes a lock.
"""

from __future__ import annotations

from typing import LiteralString

SCHEMA_VERSION = "1"
"""ADK's version of the tables below."""

# Which of the tables exist. Events without the metadata table are those of ADK's oldest schema.
THERE: LiteralString = """
    select to_regclass('adk.adk_internal_metadata') is not null, to_regclass('adk.events') is not null
"""

VERSION: LiteralString = "select value from adk.adk_internal_metadata where key = 'schema_version'"

# The value v of a large event, made short: of more than 4096 bytes it becomes a stand-in (cutting.stood_in) with its bytes
# and its first part, and of an object each of its first values by itself.
_SHORT: LiteralString = """
    case when octet_length(v.value::text) <= 4096 then v.value
         when jsonb_typeof(v.value) <> 'object'
         then jsonb_build_object('agentjobs_cut', octet_length(v.value::text), 'text', left(v.value #>> '{}', room.characters))
         else (select jsonb_object_agg(w.key, case
                          when octet_length(w.value::text) <= 4096 then w.value
                          else jsonb_build_object(
                                   'agentjobs_cut', octet_length(w.value::text),
                                   'text', case w.key when 'data' then '' else left(w.value #>> '{}', room.characters) end)
                          end)
                 from (select * from jsonb_each(v.value) limit 64) w)
    end
"""

_EVENTS: LiteralString = """
    select e.id, e.invocation_id, e.timestamp,
           case when octet_length(t.data) <= 65536 then t.data
                else (select jsonb_object_agg(v.key, {short})
                        from (select * from jsonb_each(e.event_data) where key <> 'content' limit 64) v)::text
           end,
           case when octet_length(t.data) <= 65536 then null
                else (select jsonb_agg((select jsonb_object_agg(v.key, {short})
                                          from (select * from jsonb_each(case jsonb_typeof(p.part) when 'object' then p.part
                                                                                              else '{{}}' end) limit 64) v)
                                       order by p.place)
                        from jsonb_array_elements(room.parts) with ordinality p(part, place)
                       where p.place <= 33)::text
           end
      from (select id, invocation_id, timestamp, event_data
              from adk.events
             where app_name = %(app_name)s and user_id = %(user_id)s and session_id = %(session_id)s
               and {begin}
               and (%(invocations)s::text[] is null
                    or invocation_id = any (%(invocations)s)
                    or split_part(invocation_id, '-r', 1) = any (%(invocations)s))
             order by timestamp, id
             limit %(limit)s) e
     cross join lateral (select coalesce(e.event_data, 'null')::text as data offset 0) t
     cross join lateral (
           select parts, 131072 / greatest(8, least(33, jsonb_array_length(parts))) as characters
             from (select case jsonb_typeof(e.event_data #> '{{content,parts}}') when 'array' then e.event_data #> '{{content,parts}}'
                                                                              else '[]' end as parts) given) room
     order by e.timestamp, e.id
"""

# A page of events, the oldest first, from a place on. The first parameter of split_part: a job's later rounds have
# its id and -r<number>. Of an event of more than 64 KiB (65536 bytes of JSON) a short form, in two columns: its fields, and its parts.
PAGE: LiteralString = _EVENTS.format(
    short=_SHORT,
    begin="""(%(at)s::timestamp is null or timestamp >= %(at)s)
               and (%(at)s::timestamp is null or (timestamp, id) >= (%(at)s, %(event)s))""",
)

# The same, for a follower: events after a time, without those that it has.
NEWS: LiteralString = _EVENTS.format(
    short=_SHORT,
    begin="(%(floor)s::timestamp is null or timestamp > %(floor)s) and id <> all (%(known)s::text[])",
)

STORED: LiteralString = """
    select 1 from adk.sessions where app_name = %(app_name)s and user_id = %(user_id)s and id = %(session_id)s
"""

# The revisions of sessions by their number in the arrays: whoever appends an event writes the session's row, and so
# makes another transaction its xmin.
REVISIONS: LiteralString = """
    select asked.place, s.xmin::text
      from unnest(%(app_names)s::text[], %(user_ids)s::text[], %(session_ids)s::text[])
           with ordinality as asked(app_name, user_id, session_id, place)
      join adk.sessions s on s.app_name = asked.app_name and s.user_id = asked.user_id and s.id = asked.session_id
"""

ARTIFACTS_THERE: LiteralString = "select to_regclass('adk.artifact') is not null"

# The newest version of each artifact of a session and its user, by name, behind a name.
ARTIFACTS: LiteralString = """
    select distinct on (filename collate "C") filename, version, mime_type, size_bytes, saved_at, part #>> '{file_data,file_uri}'
      from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf in ('', %(session_id)s)
       and filename collate "C" > %(after)s
     order by filename collate "C", version desc
     limit %(limit)s
"""

ARTIFACT: LiteralString = """
    select filename, version, mime_type, size_bytes, saved_at, part #>> '{file_data,file_uri}'
      from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf in ('', %(session_id)s) and filename = %(filename)s
       and (%(version)s::bigint is null or version = %(version)s::bigint)
     order by version desc
     limit 1
"""

# A piece of a version's content, from a byte on, counted from 1.
ARTIFACT_PIECE: LiteralString = """
    select substring(content from %(start)s for %(bytes)s)
      from adk.artifact
     where app_name = %(app_name)s and user_id = %(user_id)s and shelf in ('', %(session_id)s) and filename = %(filename)s
       and version = %(version)s
"""
