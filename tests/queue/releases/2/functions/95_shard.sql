-- shard_of: an argument has the type of a table, so the table cannot go before the function.
create or replace function shard_of(p shard) returns int language sql immutable as 'select p.number';

create or replace function shards() returns setof int language sql stable as 'select shard_of(s) from shard s';
