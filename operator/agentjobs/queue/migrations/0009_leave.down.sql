drop function unchanged(bigint[], bigint[]);
drop function unregister(uuid);
