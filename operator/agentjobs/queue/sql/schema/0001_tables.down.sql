drop table if exists audit, tally, tally_minute, tally_key, tally_first, schedule_tick, schedule, model_target, model_breaker, upkeep,
  outbox, output_tail, awaited, lookout, lost_worker, worker, pause, queue, session, attempt, outcome, running, waiting, job, facet;
drop sequence if exists outbox_version, claim_number, position;
