// The list of jobs: its rows keep their places, and are selected.
"use strict";
// ---- a list that does not move ---------------------------------------------------------------------------------
// Rows that are shown keep their place and are renewed where they stand; those that no longer match are dimmed. New
// ones are announced, and come when the reader asks for them.
let letIn = true;
function held(region, text) {
  const body = $("tbody", region), news = document.createElement("template");
  news.innerHTML = text;
  const fresh = $$("tbody tr", news.content);
  const bar = $("#fresh");
  if (letIn || !body) { letIn = false; bar.hidden = true; return text; }
  if (!fresh.length) news.innerHTML = region.innerHTML; // nothing matches any more: the rows stay, dimmed
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
function letAllIn() {
  letIn = true;
  for (const [region, state] of regions) if ("hold" in region.dataset) state.tag = "";
}
$("#fresh")?.addEventListener("click", () => {
  letAllIn();
  $("#fresh").hidden = true;
  refresh();
  $("#main").focus();
});

// Words that are cut to two lines are shown whole when they are pressed.
document.addEventListener("click", ({ target }) => {
  const cut = target.closest?.(".said.clip");
  if (cut && (cut.scrollHeight > cut.clientHeight + 2 || "whole" in cut.dataset) && document.getSelection().isCollapsed)
    cut.toggleAttribute("data-whole");
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

