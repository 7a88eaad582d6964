drop table if exists audit, tally, tally_minute, tally_key, tally_first, schedule_tick, schedule, model_target, model_breaker, upkeep, walk,
  outbox, output_tail, awaited, lookout, lost_worker, worker, pause, queue, session, attempt, outcome, running, waiting, job, facet,
  saved_file;
drop sequence if exists outbox_version, claim_number, position,
  claim_place_0, claim_place_1, claim_place_2, claim_place_3, claim_place_4, claim_place_5, claim_place_6, claim_place_7,
  claim_place_8, claim_place_9, claim_place_10, claim_place_11, claim_place_12, claim_place_13, claim_place_14, claim_place_15,
  claim_look_0, claim_look_1, claim_look_2, claim_look_3, claim_look_4, claim_look_5, claim_look_6, claim_look_7,
  claim_look_8, claim_look_9, claim_look_10, claim_look_11, claim_look_12, claim_look_13, claim_look_14, claim_look_15;
