-- A column that all rows of a big table have, and an index: first for new rows, then for the old ones, then the index.
alter table waiting add column shard int;
alter table waiting alter column shard set default 0;
-- section: batch of waiting until not exists (select from waiting where shard is null)
update waiting set shard = id % 16
  where ctid = any (array(select ctid from waiting where ctid >= @from@ and ctid < @to@ and shard is null for update skip locked));
-- section: concurrently
create index concurrently waiting_shard on waiting (queue, shard) where state = 'r';
-- section: transaction
create table shard (number int primary key, note text not null default '');
insert into shard select generate_series(0, 15);
