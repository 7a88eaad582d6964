drop function tick(uuid, interval, interval, int);
drop function prune(interval, int);
drop function rescue(uuid, interval, int);
drop function expire(int);
drop function promote(int);
