drop table if exists audit, schedule_tick, schedule, model_target, model_breaker, upkeep, outbox, lost_worker, worker, pause, queue,
  session, attempt, outcome, running, waiting, job;
drop sequence if exists outbox_version, claim_number, position;
