drop function explain(interval, int);
drop function gone(uuid[]);
drop function mirrored(bigint, int, text);
drop function touch_uids(uuid[]);
drop function outbox_drop(bigint[]);
drop function projected(json);
drop function outbox_read(int, interval, bigint[]);
