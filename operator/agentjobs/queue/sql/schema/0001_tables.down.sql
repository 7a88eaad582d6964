drop table if exists schedule_tick, schedule, model_target, model_breaker, upkeep, outbox, worker, pause, queue, session,
  attempt, outcome, running, waiting, job;
drop sequence if exists outbox_version, position;
