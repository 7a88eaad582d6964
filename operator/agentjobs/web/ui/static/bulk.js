// One act on many jobs: counted first, then done one by one in the pace that was asked for. What is left is kept in the
// browser, so that it can go on after the page was reloaded, closed, or lost its server.
"use strict";
const PLAN = "agentjobs.bulk", AT_ONCE = 4, AGAIN_MS = 3000, MOST_REFUSED = 10;
const UNFINISHED = ["Scheduled", "Suspended", "Queued", "Running", "Retrying", "InputRequired"];
// verb → the states of the jobs that it changes; `usual`: those that are meant where the filter names no state.
const FITS = {
  retry: { states: ["Failed", "Cancelled"], usual: ["Failed"] },
  cancel: { states: UNFINISHED },
  suspend: { states: UNFINISHED.filter((state) => state !== "Suspended") },
  resume: { states: ["Suspended"] },
};
const SPREAD = [["spread", "Spread over minutes (against a storm of retries)", "number", "0", "1440", "any"]];
const exact = (n, noun = "job") => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
function secondsOf(text) { // of a duration such as 90m or 1h30m, as the runs API reads `since`; null: it is a time
  if (/^\d{1,9}$/.test(text)) return Number(text);
  if (!/^(\d{1,9}[smhdw])+$/.test(text)) return null;
  return [...text.matchAll(/(\d+)([smhdw])/g)].reduce((sum, [, n, unit]) => sum + n * UNIT_SECONDS[unit], 0);
}
// The filter of the list, as the runs API's acts take it: only jobs in a state that the act changes.
function filterOf(verb) {
  const found = {};
  for (const key of ["reason", "queue", "agent", "model", "user", "session", "since"]) if (query.get(key)) found[key] = query.get(key);
  const back = secondsOf(found.since || "");
  if (back !== null && back < 1e10) found.since = new Date(Date.now() + skew - back * 1000).toISOString(); // from now on it does not move
  const asked = query.getAll("state").filter(Boolean), fits = FITS[verb];
  return { ...found, state: asked.length ? asked.filter((state) => fits.states.includes(state)) : fits.usual || fits.states };
}
async function listed(plan) { // a page of the jobs that are left
  const params = new URLSearchParams({ limit: "200" });
  for (const [key, value] of Object.entries(plan.filter)) for (const one of [value].flat()) params.append(key, one);
  if (plan.next) params.set("continue", plan.next);
  return send("GET", `${api}${plan.namespace ? `namespaces/${encodeURIComponent(plan.namespace)}/` : ""}agentruns?${params}`);
}
async function counting(where, verb, filter) { // exactly, without reading them
  return (await actOn(where, verb, {}, filter, { dry: true })).matched;
}

// ---- doing it --------------------------------------------------------------------------------------------------
let plan = null; // under way in this tab
const save = () => store(PLAN, plan);
const slept = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(ms, 0)));
async function paced(due) { // a hidden tab wakes rarely: then all that are due by then are done
  while (!halted && Date.now() < due) await slept(Math.min(due - Date.now(), 1000));
}
// What is under way is kept too: whether it arrived is not known when the page is left, and it may not be listed any more.
async function one(at) {
  plan.open.push(at);
  save();
  for (;;) {
    if (halted) return;
    try {
      await patch({ ...at, user: plan.user }, plan.verb, plan.given, plan.when);
      plan.done += 1;
      break;
    } catch (error) {
      if (error.again) { showWork(error.message); await slept(AGAIN_MS); continue; }
      plan.refused += 1;
      plan.first ||= `${at.name}: ${error.message}`;
      if (!plan.done && plan.refused >= MOST_REFUSED) halted = true;
      break;
    }
  }
  plan.seen.push(at.uid);
  plan.open = plan.open.filter((other) => other !== at);
  save();
  showWork();
}
async function all(jobs, pace) { // a few at once; each when it is due
  const left = jobs.filter((at) => !plan.seen.includes(at.uid));
  const hand = async () => {
    while (left.length && !halted) {
      const at = left.shift();
      await paced(pace());
      await one(at);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
}
async function work() {
  const wait = (Number(plan.given.spread || 0) * 60000) / Math.max(plan.total, 1);
  let nth = plan.done + plan.refused;
  const base = Date.now() - nth * wait, pace = () => base + nth++ * wait;
  await all(plan.open.splice(0).map(({ namespace, name, uid }) => ({ namespace, name, uid })), pace);
  if (plan.rows) await all(plan.rows, pace);
  while (!plan.rows && plan.objects && !halted) {
    let list;
    try { list = await listed(plan); } catch (error) {
      if (!error.again) throw error;
      showWork(error.message);
      await slept(AGAIN_MS);
      continue;
    }
    // one that has come into its state since then, such as a retried job that failed again, was not counted, nor asked for
    const jobs = list.items.filter((item) => Date.parse(item.status.since) <= Date.parse(plan.when));
    plan.bare ||= jobs.some((item) => item.metadata.namespace === "-");
    await all(jobs.map((item) => item.metadata).filter((meta) => meta.namespace !== "-"), pace);
    if (halted) return;
    Object.assign(plan, { next: list.metadata.continue || "", seen: [] });
    save();
    if (!plan.next) break;
  }
  if (plan.bare && !halted) {
    await actOn("-", plan.verb, plan.given, plan.filter, { from: plan.from, saved: (status) => {
      plan.done += status.changed;
      plan.from = status.continue || "";
      save();
      showWork();
    } });
  }
}
async function run(begun) {
  plan = begun;
  busy += 1;
  halted = false;
  save();
  showWork();
  let failed = "";
  try { await work(); } catch (error) { failed = error.message; }
  busy -= 1;
  const left = plan, parts = [`${OBJECT[left.verb].title}: ${left.done} of ${left.total}: asked for`];
  if (left.refused) parts.push(`${left.refused} refused, the first: ${left.first}`);
  if (failed) parts.push(failed);
  if (halted && !left.done && left.refused) parts.push("stopped, since all were refused");
  const over = !halted || (!left.done && left.refused);
  plan = null;
  if (over && !failed) localStorage.removeItem(PLAN);
  for (const box of picks()) box.checked = false;
  counted();
  letAllIn();
  refresh();
  showWork();
  tell($("#work-told"), parts.join("; ").replace(/\.?$/, "."), left.refused > 0 || Boolean(failed));
  $("#work").hidden = false;
  if (over && !failed) offer(false);
}
// Only one tab works at it: the others, and a page that comes later, offer to go on.
function alone(begun) {
  if (!navigator.locks) return run(begun);
  return navigator.locks.request(PLAN, { ifAvailable: true }, (lock) => lock && run(begun));
}

// ---- showing it ------------------------------------------------------------------------------------------------
function offer(going) { // the buttons of one that stopped
  for (const id of ["#work-on", "#work-forget"]) $(id).hidden = !going;
  $("#work-close").hidden = going;
}
function showWork(away = "") {
  const shown = plan || stored(PLAN, null);
  $("#work").hidden = !shown;
  if (!shown) return;
  const n = shown.done + shown.refused, bar = $("#work-bar");
  bar.max = Math.max(shown.total, 1);
  bar.value = n;
  const minutes = plan && shown.given.spread > 0 ? Math.ceil(((shown.total - n) / Math.max(shown.total, 1)) * shown.given.spread) : 0;
  const parts = [`${OBJECT[shown.verb].title}: ${n} of ${exact(shown.total)}`];
  if (shown.refused) parts.push(`${shown.refused} refused`);
  if (minutes) parts.push(`about ${exact(minutes, "minute")} left`);
  if (away) parts.push(away);
  if (!plan) parts.push("stopped");
  tell($("#work-told"), parts.join(", ").replace(/\.?$/, "."), Boolean(away));
  $("#work-stop").hidden = !plan;
  offer(!plan);
  if (plan) $("#work-close").hidden = true;
}
$("#work-stop").addEventListener("click", () => { halted = true; });
$("#work-on").addEventListener("click", () => { const left = stored(PLAN, null); if (left) alone(left); });
$("#work-forget").addEventListener("click", () => { localStorage.removeItem(PLAN); showWork(); });
$("#work-close").addEventListener("click", () => { $("#work").hidden = true; });
if (stored(PLAN, null)) {
  if (navigator.locks) navigator.locks.request(PLAN, { ifAvailable: true }, (lock) => { if (lock) showWork(); });
  else showWork();
}

// ---- asking for it ---------------------------------------------------------------------------------------------
document.addEventListener("click", async (event) => {
  const verb = event.target.closest("button[data-bulk]")?.dataset.bulk;
  if (!verb) return;
  const place = $("#bulk-told"), kind = OBJECT[verb], fits = FITS[verb].states;
  const picked = picks().map((box) => ({ ...box.closest("tr").dataset }));
  const rows = picked.filter((at) => fits.includes(at.state)), filter = filterOf(verb);
  const can = `${kind.title} is for jobs that are ${fits.join(", ").replace(/, (?=[^,]*$)/, " or ")}`;
  tell(place, "");
  if (plan || stored(PLAN, null)) { tell(place, "First finish or leave the one that was begun: see below.", true); showWork(); return; }
  if (picked.length ? !rows.length : !filter.state.length) {
    tell(place, `${can}: none of ${picked.length ? "the selected" : "those that match"} is.`, true);
    return;
  }
  let total = rows.length;
  const objects = Boolean($("table.jobs[data-objects]")), where = objects ? namespace : "-";
  const preview = picked.length ? undefined : async () => {
    total = await counting(where, verb, filter);
    return [`${exact(total)} match${total === 1 ? "es" : ""}${query.get("state") ? "" : `, all ${filter.state.join(" or ")}`}.`, total > 0];
  };
  const less = picked.length > rows.length ? ` ${can}: ${rows.length} of the ${picked.length} selected.` : "";
  const given = await asked({
    title: kind.title + (picked.length ? ` ${rows.length} selected` : " all that match"),
    says: kind.says + less + (picked.length ? "" : " Keep a page open until it is done; it can go on later from where it was."),
    fields: SPREAD, why: verb === "cancel" || !picked.length, preview,
  }, { spread: 0 });
  if (!given || !total) return;
  const bare = picked.length ? rows.filter((at) => at.namespace === "-") : [];
  for (const at of bare) { // selected ones without an object
    try { await change(at, verb, given); } catch (error) { tell(place, `${at.name}: ${error.message}`, true); }
  }
  const others = rows.filter((at) => at.namespace !== "-").map(({ namespace, name, uid }) => ({ namespace, name, uid }));
  alone({
    verb, given, namespace: where, filter, objects, total, done: bare.length, refused: 0, first: "", next: "", from: "", seen: [], open: [],
    rows: picked.length ? others : null, bare: !picked.length && where === "-",
    user: $("[data-user]")?.dataset.user || "", when: new Date(Date.now() + skew).toISOString(),
  });
});
