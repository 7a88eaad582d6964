// The pages' script: where a region's data comes from, when it is asked for again, and what must not move meanwhile.
"use strict";
const REFRESH_MS = 5000;
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
  const params = new URLSearchParams(asked), own = new Set(params.keys()); // of the page's, one may stand twice: state
  for (const [key, value] of query)
    if (!["namespace", "name"].includes(key) && value && !own.has(key)) params.append(key, value);
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
  const set = [...query.keys()].some((key) => key !== "namespace");
  if (matchMedia("(max-width: 46rem)").matches && !set) $("#filter-box").open = false; // the list first
  for (const field of filter.elements) if (field.name && query.has(field.name)) field.value = query.get(field.name);
  filter.addEventListener("submit", (event) => {
    event.preventDefault();
    const params = new URLSearchParams(new FormData(filter));
    if (namespace) params.set("namespace", namespace);
    go(params);
  });
}

// ---- times -----------------------------------------------------------------------------------------------------
// How long ago is written here, so that an answer is the same as long as its data is. The server's clock counts.
const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
let skew = 0; // milliseconds that the server's clock is ahead of this machine's
function duration(seconds) { // one unit below an hour, two above: a number that changes all the time is not read
  const left = Math.max(Math.round(seconds), 0), at = UNITS.findIndex(([size]) => left >= size);
  if (at < 0) return "0s";
  const [size, unit] = UNITS[at], first = Math.floor(left / size), next = UNITS[at + 1];
  const second = next && size >= 3600 ? Math.floor((left % size) / next[0]) : 0;
  return first + unit + (second ? ` ${second}${next[1]}` : "");
}
function age(at) {
  const seconds = (Date.now() + skew - Date.parse(at)) / 1000;
  return seconds < -0.5 ? `in ${duration(-seconds)}` : seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}
function ages() {
  if (!document.getSelection().isCollapsed) return; // what is selected is not written over
  for (const time of $$("time[data-age]")) {
    const text = age(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}
const written = new MutationObserver(ages); // before it is painted
for (const region of $$(".region")) written.observe(region, { childList: true, characterData: true, subtree: true });

// ---- refreshing ------------------------------------------------------------------------------------------------
// A region is asked for at each of its `data-every` ticks; more and more rarely while its data stays the same and nobody
// touches the page, where it is refused, and while no answer comes. One with `data-after` is asked for when that one changes.
const SLOWEST = 3, REFUSED = 12;
let live = true, busy = 0, halted = false; // busy: acts under way
const regions = new Map($$("[data-get]").map((region) => [region, { tag: "", ticks: 0, same: 0, refused: false, lost: "", heard: 0 }]));
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
  const away = [...regions.values()].some((state) => state.lost), why = still() || (away ? "No answer" : "Live");
  const button = $("#live");
  if (button.textContent !== why) button.textContent = why;
  button.setAttribute("aria-pressed", String(live));
  button.classList.toggle("bad", away);
}
function every(region, state) {
  const own = Number(region.dataset.every || 1);
  if (state.refused) return Math.max(own, REFUSED);
  return state.lost ? SLOWEST : own * Math.min(1 + Math.floor(state.same / 3), SLOWEST);
}
function renew(region, state) {
  state.ticks = 0;
  htmx.trigger(region, "refresh");
}
function refresh() { // all of the page, now
  for (const [region, state] of regions) { state.same = 0; renew(region, state); }
  reread();
}
function tick() {
  for (const [region, state] of regions) {
    state.ticks += 1;
    if (region.dataset.after ? state.lost : state.ticks >= every(region, state)) renew(region, state);
  }
  reread();
}
function reread() {
  for (const part of $$("[data-again]")) htmx.trigger(part, "refresh");
  for (const details of $$("details[data-text][open]")) fetched(details);
}
function beat() { showLive(); ages(); if (!still()) tick(); follow(); }
setInterval(beat, REFRESH_MS);
for (const event of ["selectionchange", "visibilitychange", "change", "focusin"])
  document.addEventListener(event, showLive);
for (const event of ["pointerdown", "keydown", "wheel"])
  document.addEventListener(event, () => { for (const state of regions.values()) state.same = 0; }, { passive: true });
document.addEventListener("visibilitychange", () => { ages(); if (!still()) refresh(); follow(); });
$("#live").addEventListener("click", () => { live = !live; showLive(); if (live) refresh(); follow(); });

// ---- what is told ----------------------------------------------------------------------------------------------
const local = ["127.0.0.1", "localhost"].includes(location.hostname); // a door that a person has started; else an ingress
const LOST = `No answer from the server. ${local ? "Is kubectl agentjobs web still running? " : ""}The page tries again by itself.`;
function words(status, text) { // an error in words, from a Kubernetes Status, a fragment or plain text
  let said = text;
  try { said = JSON.parse(text).message || text; } catch {
    if (text.trimStart().startsWith("<")) said = new DOMParser().parseFromString(text, "text/html").body.textContent;
  }
  said = said.trim().slice(0, 600).replace(/\.$/, "") || `the server answered ${status}`;
  if (status === 401) return `${said}. ${local ? "This door has closed: run kubectl agentjobs web again." : "Load the page anew to sign in."}`;
  if (status === 403 && !namespace) return `${said}. Perhaps you may in one namespace: name it above.`;
  return `${said}.`;
}
function problem(region, text, refused = false) { // of this region alone
  const place = document.getElementById(region.id + "-problem");
  if (!place) return;
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle("refused", refused);
}
// What keeps answers away is told once for the page, over it, so that nothing moves; and as of when the data is.
function lose(region, state, text) {
  state.lost = text.charAt(0).toUpperCase() + text.slice(1);
  $(":scope > p.quiet:only-child", region)?.replaceChildren("No data yet.");
  showAway();
}
function showAway() {
  const lost = [...regions].filter(([, state]) => state.lost), bar = $("#away");
  for (const [region, state] of regions) region.classList.toggle("stale", Boolean(state.lost));
  if (lost.length) {
    const heard = lost.map(([, state]) => state.heard).filter(Boolean);
    const since = heard.length && new Date(Math.min(...heard) + skew).toISOString().slice(11, 19);
    const some = lost.length < regions.size ? "Some of what is shown" : "What is shown";
    const text = `${since ? `${some} is as it was at ${since} UTC. ` : ""}${lost[0][1].lost}`;
    if (bar.textContent !== text) bar.textContent = text;
  }
  bar.hidden = !lost.length;
  showLive();
}
document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = event.detail, state = regions.get(ctx.sourceElement);
  if (state?.tag) ctx.request.headers["If-None-Match"] = state.tag;
});
document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail, region = ctx.sourceElement, { status, headers } = ctx.response;
  const served = Date.parse(headers.get("Date"));
  if (served) skew = Math.abs(served - Date.now()) > 2000 ? served - Date.now() : 0;
  const state = regions.get(region);
  if (!state) { // a question in the inbox: told in its own place, and asked for again
    region.toggleAttribute("data-again", status >= 400);
    if (status >= 400) region.textContent = words(status, ctx.text);
    return;
  }
  if (status >= 500 || status === 401) { lose(region, state, words(status, ctx.text)); return; }
  const back = state.lost, before = state.tag;
  Object.assign(state, { lost: "", heard: Date.now(), refused: status === 403 || status === 404 });
  if (back) showAway();
  if (status === 304) { state.same += 1; return; }
  if (status >= 400) {
    state.tag = "";
    if (status === 403 || $(":scope > p.quiet:only-child", region)) region.replaceChildren();
    if (page === "job" && region.id === "job" && status === 404 && !region.children.length) document.body.classList.add("missing");
    if (status === 404 && "absent" in region.dataset) {
      region.replaceChildren(Object.assign(document.createElement("p"), { className: "none", textContent: region.dataset.absent }));
      problem(region, "");
    } else problem(region, words(status, ctx.text), status === 403);
    return;
  }
  document.body.classList.remove("missing");
  Object.assign(state, { tag: headers.get("ETag") || "", same: 0 });
  problem(region, "");
  if ("hold" in region.dataset) ctx.text = held(region, ctx.text);
  if (before && before !== state.tag)
    for (const [other, own] of regions) if (other.dataset.after === region.id) renew(other, own);
});
document.addEventListener("htmx:error", (event) => {
  const { ctx } = event.detail, state = regions.get(ctx?.sourceElement);
  if (!state) ctx?.sourceElement?.toggleAttribute("data-again", true);
  else lose(ctx.sourceElement, state, LOST);
});
document.addEventListener("htmx:after:swap", (event) => {
  const region = event.detail.ctx?.sourceElement || document;
  keepAll(region);
  counted();
  if (region.id === "job") $("#yaml").hidden = !$("[data-object]", region);
});
const name = query.get("name");
if (page === "job" && name) $("#title").textContent = name;
document.title = [page === "job" && name, document.title.split(" · ")[0], namespace, "agentjobs"].filter(Boolean).join(" · ");

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
  else if (event.key === "/") {
    event.preventDefault();
    if (filter) $("#filter-box").open = true;
    ($("#f-state") || $("#namespace")).focus();
  }
});
