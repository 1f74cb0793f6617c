// Lists, forms and dialogs of entities. Everything here works without it too: by whole pages.
import { csrfToken, isTyping, say } from "./browser.js";

const box = document.getElementById("q");
const dialog = document.getElementById("act");

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
  if (!box || dialog?.open) return;
  event.preventDefault();
  box.focus();
  box.select();
});

// Fields left empty would only lengthen the URL.
const search = document.getElementById("entity-search");
search?.addEventListener("submit", () => {
  for (const field of search.elements) if (field.name && !field.value) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of search?.elements ?? []) field.disabled = false;
});

// Selecting rows: the bar says how many, "all that match" takes those of other pages too.
const bulk = document.getElementById("bulk");
if (bulk) {
  const boxes = () => [...bulk.querySelectorAll('input[name="id"]')];
  const every = bulk.querySelector("[data-all]");
  const all = bulk.elements.namedItem("all");
  const says = bulk.querySelector("[data-bulk-says]");
  const go = bulk.querySelector("[data-bulk-go]");
  const act = bulk.elements.namedItem("act");
  const nothing = says.textContent;
  const tell = () => {
    const count = boxes().filter((one) => one.checked).length;
    every.checked = count > 0 && count === boxes().length;
    every.indeterminate = count > 0 && !every.checked;
    says.textContent = all.checked ? "All that match are selected." : count ? `${count} selected on this page.` : nothing;
    go.disabled = !(all.checked || count) || !act.value;
  };
  every.hidden = false;
  every.addEventListener("change", () => {
    for (const one of boxes()) one.checked = every.checked;
    tell();
  });
  bulk.addEventListener("change", tell);
  addEventListener("pageshow", tell);
  tell();
}

// What an act will do is shown in a dialog; its answer may be the next step of the same dialog.
async function inDialog(url, options) {
  const response = await fetch(url, { ...options, headers: { "HX-Request": "true", "HX-Current-URL": location.href, "X-CSRF-Token": csrfToken() } });
  const login = response.headers.get("HX-Redirect");
  if (login) return location.assign(login);
  if (response.redirected) return location.assign(response.url);
  const part = new DOMParser().parseFromString(await response.text(), "text/html").body;
  dialog.replaceChildren(...part.childNodes);
  if (!dialog.open) dialog.showModal();
  const wanted = ["[aria-invalid]", ".fields :is(select, textarea, input:not([type=hidden]))", "h2"];
  wanted.map((one) => dialog.querySelector(one)).find(Boolean)?.focus();
}

const failed = () => say("The server cannot be reached. Nothing was changed; try again.", "bad");

document.addEventListener("click", (event) => {
  if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest("a[data-in-dialog]");
  if (link) {
    event.preventDefault();
    inDialog(link.href).catch(failed);
  }
  if (dialog.open && (event.target.closest("[data-close]") || event.target === dialog)) {
    event.preventDefault();
    dialog.close();
  }
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!dialog || !("inDialog" in form.dataset)) return;
  event.preventDefault();
  inDialog(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)) }).catch(failed);
});

// A field that links to an entity: what is typed is searched for; arrows, Enter and Escape as in any combobox.
const WAIT_MS = 150;

function suggestsFor(input) {
  const list = document.createElement("ul");
  list.className = "suggestions";
  list.id = `${input.id}-suggestions`;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", `Suggestions for ${input.labels?.[0]?.textContent.trim() ?? ""}`);
  list.hidden = true;
  input.after(list);
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);
  let timer = 0;
  let asked = 0;
  const options = () => [...list.querySelectorAll('[role="option"]')];
  const close = () => {
    clearTimeout(timer);
    asked += 1;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const point = (option) => {
    for (const one of options()) one.setAttribute("aria-selected", String(one === option));
    if (!option) return;
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };
  const pick = (option) => {
    input.value = option.dataset.value;
    close();
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const ask = async () => {
    const mine = (asked += 1);
    const url = new URL(input.dataset.suggest, location.href);
    url.searchParams.set("q", input.value.trim());
    let text = "";
    try {
      const response = await fetch(url, { headers: { "HX-Request": "true" } });
      if (!response.ok) return close();
      text = await response.text();
    } catch {
      return close();
    }
    if (mine !== asked || document.activeElement !== input) return undefined;
    list.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
    for (const option of options()) option.id = `${list.id}-${option.id}`;
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    input.removeAttribute("aria-activedescendant");
    return undefined;
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT_MS);
  });
  input.addEventListener("keydown", (event) => {
    const at = options().findIndex((one) => one.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) return ask();
      const all = options();
      if (all.length) point(all[(at + (event.key === "ArrowDown" ? 1 : -1) + all.length + (at < 0 && event.key === "ArrowUp" ? 1 : 0)) % all.length]);
    } else if (event.key === "Enter" && !list.hidden && at >= 0) {
      event.preventDefault();
      pick(options()[at]);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
    return undefined;
  });
  list.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the field keeps the focus
    const option = event.target.closest('[role="option"]');
    if (option) pick(option);
  });
  input.addEventListener("blur", close);
}

const ready = new WeakSet();
document.addEventListener("focusin", (event) => {
  const input = event.target.closest?.("input[data-suggest]");
  if (!input || ready.has(input)) return;
  ready.add(input);
  suggestsFor(input);
});

document.querySelector(".summary[autofocus], .conflict")?.scrollIntoView({ block: "center" });
