// One act on many jobs.
"use strict";
// ---- many ------------------------------------------------------------------------------------------------------
// The filter of the list, as the runs API's acts take it.
function filterOf() {
  const found = {};
  for (const key of ["reason", "queue", "agent", "model", "user", "session", "since"]) if (query.get(key)) found[key] = query.get(key);
  const states = query.getAll("state").filter(Boolean);
  return states.length ? { ...found, state: states } : found;
}
async function runAction(where, verb, given, only, dry = false) {
  const spec = { verb, filter: only || filterOf(), reason: given.reason || "", spreadSeconds: Math.round(Number(given.spread || 0) * 60) };
  const url = `${api}namespaces/${encodeURIComponent(where)}/runactions${dry ? "?dryRun=All" : ""}`;
  const sum = { matched: 0, changed: 0, refused: {} };
  do { // the server answers after a while how to go on
    const { status } = await send("POST", url, { apiVersion: "runs.agentjobs.dev/v1alpha1", kind: "RunAction", spec });
    sum.matched ||= status.matched;
    sum.changed += status.changed;
    Object.assign(sum.refused, status.refused);
    spec.continue = status.continue;
  } while (spec.continue && !halted);
  if (only && !sum.changed) throw new Error(Object.keys(sum.refused)[0] || "Nothing was changed: it has ended, or is in another state by now.");
  return sum;
}
async function* matching() { // every job that the filter finds, each once: newest first, page by page
  let next = "";
  do {
    const url = new URL(route("agentruns?limit=200"), location.href);
    url.searchParams.delete("continue");
    if (next) url.searchParams.set("continue", next);
    const list = await send("GET", url.href);
    for (const item of list.items) yield item.metadata;
    next = list.metadata.continue;
  } while (next);
}
$("#bulk-stop")?.addEventListener("click", () => { halted = true; });
const SPREAD = [["spread", "Spread over minutes (against a storm of retries)", "number", "0", "1440"]];
document.addEventListener("click", async (event) => {
  const verb = event.target.closest("button[data-bulk]")?.dataset.bulk;
  if (!verb) return;
  const rows = picks().map((box) => ({ ...box.closest("tr").dataset }));
  let total = rows.length;
  const objects = Boolean($("table.jobs[data-objects]")), one = objects ? namespace : "-"; // where all that match are
  const preview = rows.length ? undefined : async () => {
    if (one) total = (await runAction(one, verb, {}, null, true)).matched;
    else for await (const _ of matching()) total += 1; // over all namespaces
    return total === 1 ? "1 job matches." : `${total.toLocaleString("en")} jobs match.`;
  };
  const given = await asked({
    title: OBJECT[verb].title + (rows.length ? ` ${rows.length} selected` : " all that match"),
    says: OBJECT[verb].says + (rows.length ? "" : " Keep this page open until it is done."),
    fields: SPREAD, why: verb === "cancel" || !rows.length, preview,
  }, { spread: 0 });
  if (!given) return;
  const place = $("#bulk-told"), wait = total ? (Number(given.spread || 0) * 60000) / total : 0;
  const me = $("[data-user]")?.dataset.user;
  let done = 0, bare = 0;
  const refused = [];
  busy += 1;
  halted = false;
  $("#bulk-stop").hidden = false;
  try {
    for await (const at of rows.length ? rows : one === "-" ? [] : matching()) {
      if (halted) break;
      if (!rows.length && at.namespace === "-") { bare += 1; continue; } // by one act, below
      try { await change({ ...at, user: me }, verb, given); done += 1; } catch (error) { refused.push(`${at.name}: ${error.message}`); }
      tell(place, `${done} of ${total} …`);
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    }
    if (!rows.length && !halted && (bare || one === "-")) done += (await runAction("-", verb, given)).changed;
  } catch (error) { refused.push(error.message); } finally {
    busy -= 1;
    $("#bulk-stop").hidden = true;
    for (const box of picks()) box.checked = false;
    counted();
    letIn = true;
    refresh();
  }
  const parts = [`${done} of ${total}: asked for`];
  if (halted) parts.push("stopped; do it again for the rest");
  if (refused.length) parts.push(`${refused.length} refused, the first: ${refused[0]}`);
  tell(place, parts.join("; ") + ".", refused.length > 0);
});
