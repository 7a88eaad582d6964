// The pages' script: where a region's data comes from, when it is asked for again, and what must not move meanwhile.
"use strict";
const REFRESH_MS = 5000, ENTRIES = 2000;
const query = new URLSearchParams(location.search);
const namespace = query.get("namespace") || "";
const api = new URL("../", location.href).pathname; // …/apis/runs.agentjobs.dev/v1alpha1/
const kube = api.slice(0, api.indexOf("/apis/")) + "/apis/agentjobs.dev/v1alpha1/";
const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const page = document.body.dataset.page;

// ---- addresses -------------------------------------------------------------------------------------------------
// A data route of the runs API: in the chosen namespace, or over all of them. `{name}` is the job of this page.
function route(path) {
  const [where, asked] = path.replace("{name}", encodeURIComponent(query.get("name") || "")).split("?");
  const params = new URLSearchParams(asked);
  for (const [key, value] of query)
    if (!["namespace", "name"].includes(key) && value && !params.has(key)) params.append(key, value);
  const text = params.toString();
  return api + (namespace ? `namespaces/${encodeURIComponent(namespace)}/` : "") + where + (text ? "?" + text : "");
}

for (const region of $$("[data-get]")) region.setAttribute("hx-get", route(region.dataset.get));

// Links between pages keep the namespace; a link to older rows keeps the filter too.
function keep(link) {
  const url = new URL(link.getAttribute("href"), location.href);
  if (link.dataset.continue) {
    for (const [key, value] of query) url.searchParams.append(key, value);
    url.searchParams.set("continue", link.dataset.continue);
  } else if (namespace && !url.searchParams.has("namespace")) url.searchParams.set("namespace", namespace);
  link.href = url.href;
}
const keepAll = (within) => $$("a[data-keep], a[data-continue]", within).forEach(keep);
keepAll(document);

// ---- the namespace, and the filter in the address --------------------------------------------------------------
function stored(key, fallback) {
  try { return JSON.parse(localStorage.getItem(key)) ?? fallback; } catch { return fallback; }
}
function store(key, value) {
  try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* a browser that stores nothing */ }
}
const seen = stored("agentjobs.namespaces", []);
if (namespace) store("agentjobs.namespaces", [namespace, ...seen.filter((one) => one !== namespace)].slice(0, 12));
$("#namespace").value = namespace;
$("#namespaces").append(...seen.map((one) => new Option(one)));

function go(params) { // the same page with other parameters, without the empty ones
  for (const key of [...params.keys()]) if (!params.get(key)) params.delete(key);
  location.search = params.toString();
}
$(".where").addEventListener("submit", (event) => {
  event.preventDefault();
  const params = page === "job" ? new URLSearchParams() : new URLSearchParams(query);
  params.delete("continue");
  params.set("namespace", $("#namespace").value.trim());
  if (page === "job") location.href = "jobs.html?" + params; else go(params);
});
const filter = $("#filter");
if (filter) {
  for (const field of filter.elements) if (field.name && query.has(field.name)) field.value = query.get(field.name);
  filter.addEventListener("submit", (event) => {
    event.preventDefault();
    const params = new URLSearchParams(new FormData(filter));
    if (namespace) params.set("namespace", namespace);
    go(params);
  });
}

// ---- refreshing ------------------------------------------------------------------------------------------------
let live = true, busy = 0; // busy: acts under way
const picks = () => $$("input[name=pick]:checked");
function still() { // why the page is held still; empty: it is not
  if (!live) return "Held";
  if (document.hidden) return "Hidden";
  if (busy || $("dialog[open]")) return "Held for the act";
  if (picks().length) return "Held: rows are selected";
  if (!document.getSelection().isCollapsed) return "Held: text is selected";
  if (document.activeElement?.matches(".region textarea")) return "Held: you write";
  return "";
}
function showLive() {
  const why = still() || "Live";
  const button = $("#live");
  if (button.textContent !== why) button.textContent = why;
  button.setAttribute("aria-pressed", String(live));
}
function refresh(tick = 0) { // by the clock, a region is asked for at every one of its `data-every` ticks
  for (const region of $$("[data-get]")) if (tick % (region.dataset.every || 1) === 0) htmx.trigger(region, "refresh");
  for (const details of $$("details[data-text][open]")) fetched(details);
}
let ticks = 0;
setInterval(() => { showLive(); if (!still()) refresh(++ticks); follow(); }, REFRESH_MS);
for (const event of ["selectionchange", "visibilitychange", "change", "focusin"])
  document.addEventListener(event, showLive);
document.addEventListener("visibilitychange", () => { if (!still()) refresh(); follow(); });
$("#live").addEventListener("click", () => { live = !live; showLive(); if (live) refresh(); follow(); });

// ---- what is told ----------------------------------------------------------------------------------------------
const LOST = "No answer from the server. Is kubectl agentjobs web still running? The page tries again by itself.";
function words(status, text) { // an error in words, from a Kubernetes Status, a fragment or plain text
  let said = text;
  try { said = JSON.parse(text).message || text; } catch {
    if (text.trimStart().startsWith("<")) said = new DOMParser().parseFromString(text, "text/html").body.textContent;
  }
  said = said.trim().slice(0, 600) || `the server answered ${status}`;
  if (status === 401) return `${said}. This door has closed: run kubectl agentjobs web again.`;
  if (status === 403 && !namespace) return `${said}. Perhaps you may in one namespace: name it above.`;
  return said;
}
function problem(region, text) {
  const place = document.getElementById(region.id + "-problem");
  if (place && place.textContent !== text) place.textContent = text;
}
document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail, region = ctx.sourceElement;
  if (ctx.response.status < 400) {
    problem(region, "");
    if ("hold" in region.dataset) ctx.text = held(region, ctx.text);
    return;
  }
  problem(region, words(ctx.response.status, ctx.text));
  if ($(":scope > p.quiet:only-child", region)) region.replaceChildren();
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) problem(event.detail.ctx.sourceElement, LOST);
});
document.addEventListener("htmx:after:swap", (event) => {
  const region = event.detail.ctx?.sourceElement || document;
  keepAll(region);
  counted();
});

// ---- a list that does not move ---------------------------------------------------------------------------------
// Rows that are shown keep their place and are renewed where they stand; those that no longer match are dimmed. New
// ones are announced, and come when the reader asks for them.
let letIn = true;
function held(region, text) {
  const body = $("tbody", region), news = document.createElement("template");
  news.innerHTML = text;
  const fresh = $$("tbody tr", news.content);
  const bar = $("#fresh");
  if (letIn || !body || !fresh.length) { letIn = false; bar.hidden = true; return text; }
  const by = new Map(fresh.map((row) => [row.id, row]));
  const target = $("tbody", news.content), rows = [];
  for (const row of body.rows) {
    const renewed = by.get(row.id);
    by.delete(row.id);
    if (renewed) rows.push(renewed);
    else { const old = row.cloneNode(true); old.classList.add("gone"); old.title = "As it was: it does not match any more, or is on a later page."; rows.push(old); }
  }
  const older = fresh.slice(fresh.findLastIndex((row) => !by.has(row.id)) + 1); // below all that are shown: room is left
  for (const row of older) { rows.push(row); by.delete(row.id); }
  target.replaceChildren(...rows);
  bar.hidden = !by.size;
  bar.textContent = by.size === 1 ? "1 new job: show it" : `${by.size} new jobs: show them`;
  return news.innerHTML;
}
$("#fresh")?.addEventListener("click", () => {
  letIn = true;
  $("#fresh").hidden = true;
  refresh();
  $("#main").focus();
});

// ---- selecting -------------------------------------------------------------------------------------------------
function counted() {
  const place = $("#picked");
  if (!place) return;
  const n = picks().length;
  place.textContent = n ? `${n} selected` : "All that match";
  $("#pick-none").hidden = !n;
  $("#bulk").classList.toggle("on", n > 0);
  $("#bulk").hidden = !$("#pick-all");
}
document.addEventListener("change", (event) => {
  if (event.target.id === "pick-all")
    for (const box of $$("input[name=pick]")) box.checked = event.target.checked;
  counted();
});
$("#pick-none")?.addEventListener("click", () => {
  for (const box of $$("input[name=pick], #pick-all")) box.checked = false;
  counted();
  showLive();
});
counted();

// ---- texts that are fetched when they are opened ---------------------------------------------------------------
for (const details of $$("details[data-text]"))
  details.addEventListener("toggle", () => { if (details.open) fetched(details); });
async function fetched(details) {
  const object = details.dataset.text === "object";
  const url = object
    ? `${kube}namespaces/${encodeURIComponent(namespace)}/agentjobs/${encodeURIComponent(query.get("name"))}`
    : route(details.dataset.text);
  const told = $(".problem", details), shown = $("pre", details);
  try {
    const answer = await fetch(url, { headers: { Accept: object ? "application/yaml" : "text/plain" } });
    const text = await answer.text(), said = answer.ok ? text || "Nothing." : "";
    told.textContent = answer.ok ? "" : words(answer.status, text);
    if (shown.textContent !== said) along(shown, () => { shown.textContent = said; });
  } catch { told.textContent = LOST; }
}
function along(box, change) { // a box whose end is seen follows what is added; else it stays where it is read
  const end = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  change();
  if (end) box.scrollTop = box.scrollHeight;
}

// ---- the conversation: each entry once, in its order, while it is written ---------------------------------------
// No stream is open while the page is held or hidden: a browser has six connections for all its tabs to one door.
const talk = $("#talk"), known = new Set();
let stream = null, ended = false, refused = false, last = "";
const talkTold = (text, bad = "") => { $("#talk-told").textContent = text; $("#talk-problem").textContent = bad; };
function follow() {
  if (!talk || refused) return;
  if (ended && !$("#job [data-final]")) ended = false; // a new round
  const wanted = live && !document.hidden && !ended;
  if (wanted === Boolean(stream)) return;
  if (!wanted) { stream.close(); stream = null; talkTold("Held: press Live to follow it again."); return; }
  const url = route(talk.dataset.talk + (last && "&after=" + encodeURIComponent(last)));
  stream = new EventSource(url);
  stream.addEventListener("open", () => talkTold(known.size ? "Followed." : "Nothing was said yet. It is followed."));
  stream.addEventListener("entry", ({ data, lastEventId }) => {
    const news = document.createElement("template");
    news.innerHTML = data;
    const entry = news.content.firstElementChild;
    if (!entry || known.has(entry.id)) return;
    known.add(entry.id);
    last = lastEventId || last;
    const list = $("ol", talk);
    along(talk, () => list.append(entry));
    while (list.children.length > ENTRIES) list.firstElementChild.remove();
    talkTold(known.size > ENTRIES ? `Followed: the latest ${ENTRIES} of ${known.size} entries.` : "Followed.");
  });
  stream.addEventListener("end", () => {
    stop();
    ended = true;
    talkTold(known.size ? "That is all: the job has ended." : "Nothing was said.");
  });
  stream.addEventListener("error", async (event) => {
    if (event.data) { stop(); talkTold("", words(0, event.data)); return; }
    if (stream?.readyState !== EventSource.CLOSED) { talkTold("", LOST); return; }
    stop();
    const asked = new AbortController(); // why: an event source does not say
    try {
      const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, signal: asked.signal });
      if (answer.ok) asked.abort();
      else { refused = answer.status < 500; talkTold("", words(answer.status, await answer.text())); }
    } catch { talkTold("", LOST); }
  });
}
function stop() { stream?.close(); stream = null; }
follow();

// ---- keys ------------------------------------------------------------------------------------------------------
const GO = { n: "now", j: "jobs", a: "approvals", s: "schedules", q: "queues", w: "workers", u: "audit" };
let leader = 0;
const keysOn = $("#keys-on");
keysOn.checked = stored("agentjobs.keys", true);
keysOn.addEventListener("change", () => store("agentjobs.keys", keysOn.checked));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "?") { $("#keys").showModal(); return; }
  if (!keysOn.checked) return;
  const led = Date.now() - leader < 1500;
  leader = 0;
  const link = led && GO[event.key] && $(`nav a[href*="${GO[event.key]}.html"]`);
  if (link) link.click();
  else if (event.key === "g") leader = Date.now();
  else if (event.key === "r") refresh();
  else if (event.key === "/") { event.preventDefault(); ($("#f-state") || $("#namespace")).focus(); }
});
