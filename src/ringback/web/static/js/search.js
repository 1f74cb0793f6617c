// The search page by keyboard, and rows as one large link.
import { isTyping } from "./browser.js";

const box = document.getElementById("q");
const rows = () => [...document.querySelectorAll("#rows a[data-open]")];
const KEPT = "ringback.opened"; // the row that was opened last, to be found again on coming back

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "/" && box && !isTyping(event.target)) {
    event.preventDefault();
    box.focus();
    box.select();
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || (isTyping(event.target) && event.target !== box) || event.target.closest("[data-histogram]")) return;
  const links = rows();
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : -1) : at + step;
  if (next < 0 && at >= 0) { event.preventDefault(); box?.focus(); return; }
  if (!links[next]) return;
  event.preventDefault();
  links[next].focus();
});

document.getElementById("rows")?.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-row]");
  if (!row || event.target.closest("a, button") || !getSelection().isCollapsed) return;
  const link = row.querySelector("a[data-open]");
  link.focus({ preventScroll: true });
  if (event.ctrlKey || event.metaKey) window.open(link.href);
  else link.click();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-open]");
  if (link) sessionStorage.setItem(KEPT, link.dataset.open);
});

// Coming back (Esc, the back button): the browser restores the scroll position, the row gets the focus again.
addEventListener("pageshow", () => {
  const entry = performance.getEntriesByType("navigation")[0];
  const kept = sessionStorage.getItem(KEPT);
  if (!kept || entry?.type === "navigate") return;
  rows().find((link) => link.dataset.open === kept)?.focus({ preventScroll: true });
});

// The URL is the search: after "Show more" it asks for as many rows as are shown.
document.addEventListener("htmx:after:swap", () => {
  const count = rows().length;
  const heading = document.getElementById("count");
  const url = new URL(location.href);
  if (!heading || url.searchParams.has("cursor") || count <= Number(url.searchParams.get("limit") ?? 50)) return;
  heading.textContent = `${count} sessions${document.querySelector("[data-more]") ? ", and more" : ""}`;
  if (count <= 500) {
    url.searchParams.set("limit", count);
    history.replaceState(history.state, "", url);
  }
});

const pick = document.querySelector("[data-pick]");
pick?.addEventListener("click", () => {
  const fields = document.getElementById("pick");
  fields.hidden = !fields.hidden;
  fields.disabled = fields.hidden;
  pick.setAttribute("aria-expanded", String(!fields.hidden));
  const preset = document.querySelector("[data-preset]");
  if (preset) preset.disabled = !fields.hidden;
  if (!fields.hidden) document.getElementById("from").focus();
});

// Fields left empty would only lengthen the URL.
const search = document.getElementById("search"); // the tab Sessions of a customer has rows, and no search of its own
search?.addEventListener("submit", (event) => {
  for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of search?.elements ?? []) {
    if (field.tagName !== "FIELDSET" && field.disabled && !("preset" in field.dataset)) field.disabled = false;
  }
});

import "./histogram.js";
