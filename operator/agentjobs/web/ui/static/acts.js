// Acts. On an object: a PATCH to the Kubernetes API, as the user. On a queue, a model or a job without an object: a POST to
// the runs API. Each is asked about first, carries who and why, and is told beside its button, also when it is refused.
"use strict";
const ACT = "agentjobs.dev/act", UNDER = "agentjobs.dev/";
const annotated = (key, value) => ({ metadata: { annotations: { [UNDER + key]: value } } });
const instant = () => new Date().toISOString();

// verb → what is asked, and the change of the object. `why: true`: a reason is wanted.
const OBJECT = {
  retry: { title: "Retry", says: "A new round begins: attempts start at 1 again, and the conversation is kept.", patch: (given, at, when) => annotated("retry-requested-at", when) },
  cancel: { title: "Cancel", says: "The job ends as Cancelled. A running agent is asked to stop, and stopped after its grace. A cancelled object stays cancelled: run it again as a new one.", patch: () => ({ spec: { cancel: true } }) },
  suspend: { title: "Suspend", says: "The job waits until it is resumed. A running one is stopped, and its attempt is refunded.", patch: () => ({ spec: { suspend: true } }) },
  resume: { title: "Resume", says: "The job goes on where it was.", patch: () => ({ spec: { suspend: false } }) },
  priority: { title: "Change the priority", says: "0 is claimed first, 9 last.", fields: [["priority", "Priority", "number", "0", "9"]], patch: (given) => ({ spec: { priority: Number(given.priority) } }) },
  approve: { title: "Approve", says: "The tool is called once, with these arguments.", patch: answer(true) },
  reject: { title: "Reject", says: "The tool is not called. The agent is told so, and goes on.", patch: answer(false) },
  answer: { title: "Answer", says: "The agent goes on with the answer.", patch: answer() },
  trigger: { kind: "scheduledagentjobs", title: "Run now", says: "One job is created at once, also while the schedule is paused. Its times stay as they are.", patch: (given, at, when) => annotated("run-requested-at", when) },
  hold: { kind: "scheduledagentjobs", title: "Pause the schedule", says: "No further job is created until it is resumed. Those that exist go on.", patch: () => ({ spec: { suspend: true } }) },
  unhold: { kind: "scheduledagentjobs", title: "Resume the schedule", says: "Jobs are created at its times again.", patch: () => ({ spec: { suspend: false } }) },
  again: { title: "Run again as a new object", says: "A new AgentJob with the same spec is created; this one stays as it is." },
};
const QUEUE = {
  pause: { title: "Pause", says: "No job of this queue begins until it is resumed. What runs goes on.", why: true },
  unpause: { title: "Resume", says: "Jobs of this queue begin again.", verb: "resume" },
  limit: { title: "Limit", says: "How many jobs of this queue may run at once, over all workers. Empty: no limit.", fields: [["maxRunning", "Running at once", "number", "0", "2147483647"]] },
  reset: { title: "Try the model now", says: "The breaker closes: jobs that wait for this model are due at once." },
};

function answer(approved) {
  return (given, at) => {
    const said = { id: at.question, approved, at: instant(), by: at.user };
    if (given.reason) said.reason = given.reason;
    if (approved !== false && at.payload) said.payload = JSON.parse(at.payload);
    return annotated("input-response", JSON.stringify(said));
  };
}

// ---- asking ----------------------------------------------------------------------------------------------------
const ask = $("#ask");
// The dialog. Resolves with the fields that were given, or null where the user leaves it.
function asked({ title, says, fields = [], why = false, preview, about = "" }, values = {}) {
  $("#ask-title").textContent = title;
  $("#ask-says").textContent = says;
  $("#ask-about").textContent = about;
  $("#ask-about").hidden = !about;
  $("#ask-yes").textContent = title;
  $("#ask-yes").disabled = Boolean(preview);
  $("#ask-problem").textContent = "";
  $("#ask-reason").value = "";
  $("#ask-reason").required = why;
  $("#ask-fields").replaceChildren(...fields.flatMap(([name, label, type, min, max, step = "1"]) => {
    const input = Object.assign(document.createElement("input"), { id: "ask-" + name, name, type, min, max, step, value: values[name] ?? "" });
    const text = Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: label });
    return [text, input];
  }));
  ask.returnValue = "";
  ask.showModal();
  preview?.().then(
    ([text, some]) => { $("#ask-says").textContent = `${text} ${says}`; $("#ask-yes").disabled = !some; },
    (error) => { $("#ask-problem").textContent = error.message; },
  );
  return new Promise((resolve) => ask.addEventListener("close", () => {
    const given = { reason: $("#ask-reason").value.trim() };
    for (const input of $$("#ask-fields input")) given[input.name] = input.value;
    resolve(ask.returnValue === "yes" ? given : null);
  }, { once: true }));
}

// ---- sending ---------------------------------------------------------------------------------------------------
async function send(method, url, body, type = "application/json") {
  let response, text;
  try {
    response = await fetch(url, {
      method,
      headers: { "Content-Type": type, Accept: "application/json", "X-Agentjobs-Act": "1" },
      body: body && JSON.stringify(body),
    });
    text = await response.text();
  } catch { throw Object.assign(new Error(LOST), { again: true }); }
  if (!response.ok) throw Object.assign(new Error(words(response.status, text)), { again: response.status >= 500 || response.status === 429, code: response.status });
  return text ? JSON.parse(text) : {};
}
const objectURL = (at, kind = "agentjobs") => `${kube}namespaces/${encodeURIComponent(at.namespace)}/${kind}/${encodeURIComponent(at.name)}`;
// Who, what and why, as the operator's audit and the chart's admission policy read them: `by` comes first, and each text
// has its longest length (api/act.py writes the same value). An answer to a question names its author itself.
const VERB = { priority: "reprioritise", again: "run-again", trigger: "run-now", hold: "suspend", unhold: "resume" };
const ANSWERS = new Set(["approve", "reject", "answer"]);
const LONGEST = { by: 256, reason: 1024, origin: 253 };
function actText(act) {
  const said = Object.entries(act).filter(([, text]) => text).map(([field, text]) => [field, [...text].slice(0, LONGEST[field]).join("")]);
  return `{${said.map((pair) => pair.map((text) => JSON.stringify(text)).join(": ")).join(", ")}}`;
}
function withAct(change, verb, reason, at, { when = instant(), origin = "" } = {}) {
  if (!at.user || ANSWERS.has(verb)) return change;
  const text = actText({ by: at.user, verb: VERB[verb] || verb, reason, at: when, via: "web", origin });
  return { ...change, metadata: { ...change.metadata, annotations: { ...change.metadata?.annotations, [ACT]: text } } };
}
function change(at, verb, given) { // of an object by the Kubernetes API; of a job without one by the runs API
  return at.namespace === "-" ? actOn("-", verb, given, { uid: at.uid }) : patch(at, verb, given);
}
// The same `when` asks for the same: a change that is sent twice is done once. The audit wants it in both annotations.
function patch(at, verb, given, when = instant()) {
  const change = withAct(OBJECT[verb].patch(given, at, when), verb, given.reason, at, { when });
  if (at.uid) change.metadata = { ...change.metadata, uid: at.uid }; // a new object of the same name is refused: 409
  return send("PATCH", objectURL(at, OBJECT[verb].kind), change, "application/merge-patch+json");
}
async function again(at, given) {
  const old = await send("GET", objectURL(at));
  const { cancel, suspend, ...spec } = old.spec;
  const made = withAct({
    apiVersion: old.apiVersion, kind: old.kind, spec,
    metadata: { generateName: at.name.slice(0, 50).replace(/[.-]+$/, "") + "-", labels: old.metadata.labels },
  }, "again", given.reason, at, { origin: at.name });
  return send("POST", `${kube}namespaces/${encodeURIComponent(at.namespace)}/agentjobs`, made);
}
function queueAction(verb, at, given) {
  const spec = { verb: QUEUE[verb].verb || verb, reason: given.reason };
  if (at.queue) spec.queue = at.queue; else Object.assign(spec, { pool: at.pool, model: at.model });
  if (given.maxRunning) spec.maxRunning = Number(given.maxRunning);
  return send("POST", api + "queueactions", { apiVersion: "runs.agentjobs.dev/v1alpha1", kind: "QueueAction", spec });
}

// An act of the runs API on the jobs without an object that a filter finds; `dry`: only counted, in any namespace.
async function actOn(where, verb, given, filter, { dry = false, from = "", saved = () => {} } = {}) {
  const spec = { verb, filter, reason: given.reason || "", spreadSeconds: Math.round(Number(given.spread || 0) * 60) };
  if (from) spec.continue = from;
  const url = `${api}${where ? `namespaces/${encodeURIComponent(where)}/` : ""}runactions${dry ? "?dryRun=All" : ""}`;
  const sum = { matched: 0, changed: 0, refused: {} };
  do { // the server answers after a while how to go on
    const { status } = await send("POST", url, { apiVersion: "runs.agentjobs.dev/v1alpha1", kind: "RunAction", spec });
    sum.matched ||= status.matched;
    sum.changed += status.changed;
    Object.assign(sum.refused, status.refused);
    spec.continue = status.continue;
    saved(status);
  } while (spec.continue && !halted);
  if (filter.uid && !sum.changed) throw new Error(Object.keys(sum.refused)[0] || "Nothing was changed: it has ended, or is in another state by now.");
  return sum;
}

// ---- one target ------------------------------------------------------------------------------------------------
function tell(place, text, bad = false) {
  place.textContent = text;
  place.classList.toggle("bad", bad);
}
const DONE = "Asked for. The page shows it as soon as it is so.";
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]");
  if (!button) return;
  const verb = button.dataset.act, kind = OBJECT[verb] || QUEUE[verb];
  const place = $(".told", button.parentElement), holder = button.closest("[data-uid], [data-queue], [data-model]");
  const at = { ...holder.dataset, payload: $(".payload", holder)?.value };
  tell(place, "");
  if (verb === "answer" && !at.payload.trim()) { tell(place, "Fill in the answer, as JSON.", true); return; }
  if (ANSWERS.has(verb) && verb !== "reject" && at.payload) {
    try { JSON.parse(at.payload); } catch { tell(place, "What is filled in is no JSON: mend it, then answer again.", true); return; }
  }
  // a dialog covers the card: what is decided stands in both
  const about = ANSWERS.has(verb) ? [`${at.name} in ${at.namespace}`, ...$$("h3, pre", holder).map((part) => part.textContent.trim())].join("\n") : "";
  const given = await asked({ ...kind, about, title: kind.title + (at.queue ? " " + at.queue : "") }, { priority: at.priority, maxRunning: at.limit });
  if (!given) return;
  busy += 1;
  button.disabled = true;
  try {
    if (QUEUE[verb]) await queueAction(verb, at, given);
    else if (verb === "again") {
      const made = await again(at, given);
      const link = Object.assign(document.createElement("a"), { textContent: made.metadata.name, href: "job.html?" + new URLSearchParams({ namespace: at.namespace, name: made.metadata.name, uid: made.metadata.uid }) });
      tell(place, "Created: ");
      place.append(link);
    } else await change(at, verb, given);
    if (verb !== "again") tell(place, DONE);
  } catch (error) { tell(place, error.message, true); } finally {
    busy -= 1;
    button.disabled = false;
    button.focus();
    refresh();
  }
});
