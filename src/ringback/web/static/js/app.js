// What every page does: theme, the viewer's zone, copy buttons, menus and dialogs, and the CSRF token of requests.
import { csrfToken, say, setCookie } from "./browser.js";

function themeToggle() {
  const button = document.querySelector("[data-theme-toggle]");
  button?.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    setCookie("theme", root.dataset.theme);
  });
}

// The server writes times in the viewer's zone; it learns the zone from this cookie, so the first page is read twice.
function viewerZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!zone || document.cookie.split("; ").includes(`zone=${zone}`)) return;
  setCookie("zone", zone);
  const kept = document.cookie.split("; ").includes(`zone=${zone}`);
  if (kept && document.querySelector("time")) location.reload();
}

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const source = copy.dataset.copy || document.querySelector(copy.dataset.copyFrom)?.textContent || "";
    const word = copy.textContent;
    try {
      await navigator.clipboard.writeText(source);
      copy.textContent = "copied";
    } catch {
      copy.textContent = "not allowed";
    }
    setTimeout(() => { copy.textContent = word; }, 1500);
    return;
  }
  const opener = event.target.closest("[data-dialog]");
  if (opener) document.querySelector(opener.dataset.dialog)?.showModal();
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target) || event.target.closest(".menu-list a, .menu-list button")) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
  event.stopPropagation();
});

document.addEventListener("htmx:config:request", (event) => {
  event.detail.ctx.request.headers["X-CSRF-Token"] = csrfToken();
});

// A page that refreshes itself must not pass off old figures as new ones.
const UNREACHED = "The server cannot be reached; what is shown may be old.";
document.addEventListener("htmx:error", () => say(UNREACHED, "bad"));
document.addEventListener("htmx:after:swap", () => {
  const note = document.querySelector("#messages .note.bad");
  if (note?.textContent === UNREACHED) note.remove();
});

themeToggle();
viewerZone();
