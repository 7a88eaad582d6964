drop function register(uuid, text, text, json, text);
drop function progress(uuid, json);
drop function disown(uuid, json);
drop function beat(uuid, json, bigint[], interval);
drop function step(uuid, bigint, json, json, text[], int[], int, boolean, bigint[], interval);
drop function claim(uuid, bigint, text[], int[], int, boolean, bigint[], interval);
drop function ack(uuid, json, json);
