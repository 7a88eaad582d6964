drop table if exists shard;
drop index if exists waiting_shard;
alter table waiting drop column if exists shard;
