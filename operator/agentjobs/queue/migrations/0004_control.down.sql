drop function yield_paused(text);
drop function set_queue(text, boolean, text, text, boolean, int);
drop function apply(json);
drop function control(uuid, text, int);
drop function retry_job(bigint);
drop function reprioritise_job(bigint, smallint);
drop function resume_job(bigint);
drop function suspend_job(bigint);
drop function cancel_job(bigint, text);
