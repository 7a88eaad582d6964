// A job's texts: its output and object when they are opened, and its conversation while it is written.
"use strict";
const ENTRIES = 2000, FOLLOWED = "New entries appear by themselves.";
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
  change(end);
  if (end) box.scrollTop = box.scrollHeight;
}

// ---- the conversation: each entry once, in its order, while it is written ---------------------------------------
// No stream is open while the page is held or hidden: a browser has six connections for all its tabs to one door.
const talk = $("#talk"), known = new Set(), arrived = document.createDocumentFragment();
let stream = null, ended = false, refused = false, last = "";
const isFinal = (status) => status >= 400 && status < 500 && status !== 408 && status !== 429; // asking again would help nobody
const statusOf = (text) => { try { return JSON.parse(text).code || 0; } catch { return 0; } };
const talkTold = (text, bad = "") => { $("#talk-told").textContent = text; $("#talk-problem").textContent = bad; };
function follow() {
  if (!talk || refused) return;
  if (ended && !$("#job [data-final]")) ended = false; // a new round
  const wanted = live && !document.hidden && !ended;
  if (wanted === Boolean(stream)) return;
  if (!wanted) { stream.close(); stream = null; talkTold("Held: press Live to follow it again."); return; }
  const url = route(talk.dataset.talk + (last && "&after=" + encodeURIComponent(last)));
  stream = new EventSource(url);
  stream.addEventListener("open", () => talkTold(known.size ? FOLLOWED : `Nothing was said yet. ${FOLLOWED}`));
  stream.addEventListener("entry", ({ data, lastEventId }) => {
    const news = document.createElement("template");
    news.innerHTML = data;
    const entry = news.content.firstElementChild;
    if (!entry || known.has(entry.id)) return;
    known.add(entry.id);
    last = lastEventId || last;
    if (!arrived.childElementCount) requestAnimationFrame(show); // many at once are shown at once
    arrived.append(entry);
  });
  stream.addEventListener("end", () => {
    stop();
    show();
    ended = true;
    talkTold(!known.size ? "Nothing was said." : "That is all: the job has ended." + (known.size > $("ol", talk).children.length ? ` Only ${LATEST()}` : ""));
  });
  stream.addEventListener("error", async (event) => {
    if (event.data) { stop(); refused = isFinal(statusOf(event.data)); talkTold("", words(0, event.data)); return; }
    if (stream?.readyState !== EventSource.CLOSED) { talkTold("", LOST); return; }
    stop();
    const asked = new AbortController(); // why: an event source does not say
    try {
      const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, signal: asked.signal });
      if (answer.ok) asked.abort();
      else { refused = isFinal(answer.status); talkTold("", words(answer.status, await answer.text())); }
    } catch { talkTold("", LOST); }
  });
}
function show() { // what has arrived; of a very long conversation, the latest
  const list = $("ol", talk);
  if (!arrived.childElementCount) return;
  along(talk, (end) => {
    list.append(arrived);
    const most = end ? ENTRIES : 2 * ENTRIES; // who reads further up keeps what is read for longer
    while (list.children.length > most) list.firstElementChild.remove();
  });
  talkTold(known.size > list.children.length ? `${FOLLOWED} Only ${LATEST()}` : FOLLOWED);
}
const LATEST = () => `the latest ${$("ol", talk).children.length} of ${known.size} entries are shown; kubectl agentjobs transcript tells all.`;
function stop() { stream?.close(); stream = null; }
follow();
