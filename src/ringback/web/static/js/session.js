// The session page: entries that open in place, evidence that leads to them, comparing two, Esc back to the search.
import { isTyping } from "./browser.js";
import { savePng } from "./png.js";

const page = () => location.pathname;

async function expand(number, open = true) {
  const link = document.querySelector(`[data-expand="${number}"]`);
  if (!link) return null;
  const raw = document.getElementById(`raw-${number}`);
  const row = document.getElementById(`m${number}`);
  unfold(row.closest("tbody"));
  raw.hidden = !open;
  link.setAttribute("aria-expanded", String(open));
  const cell = raw.firstElementChild;
  if (open && !cell.childElementCount) {
    cell.innerHTML = '<p class="busy soft small">Reading</p>';
    cell.replaceChildren(...(await fragment(link.getAttribute("href"))));
  }
  return row;
}

async function fragment(url) {
  let text = "";
  try {
    const response = await fetch(url, { headers: { "HX-Request": "true", "HX-Current-URL": location.href } });
    const login = response.headers.get("HX-Redirect");
    if (login) location.assign(login);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    text = await response.text();
  } catch (error) {
    const problem = document.createElement("p");
    problem.className = "note bad";
    problem.textContent = `This entry could not be read (${error.message}). `;
    const again = Object.assign(document.createElement("a"), { href: url, textContent: "Open it on its own page" });
    problem.append(again);
    return [problem];
  }
  return [...new DOMParser().parseFromString(text, "text/html").body.childNodes];
}

function unfold(body) {
  if (!body?.hidden) return;
  body.hidden = false;
  const control = body.previousElementSibling.querySelector("[data-unfold]");
  control.setAttribute("aria-expanded", "true");
  control.closest("tbody").hidden = true;
}

async function show(number) {
  const row = await expand(number);
  if (!row) return;
  document.querySelector(".pointed")?.classList.remove("pointed");
  row.classList.add("pointed");
  row.scrollIntoView({ block: "center" });
  document.querySelector(`[data-expand="${number}"]`).focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const opener = event.target.closest("[data-expand]");
  if (opener) {
    event.preventDefault();
    expand(opener.dataset.expand, opener.getAttribute("aria-expanded") !== "true");
    return;
  }
  const control = event.target.closest("[data-unfold]");
  if (control) {
    event.preventDefault();
    unfold(control.closest("tbody").nextElementSibling);
    return;
  }
  const target = event.target.closest('a[href^="#m"]');
  const number = target?.getAttribute("href").match(/^#m(\d+)$/)?.[1];
  if (number) {
    event.preventDefault();
    history.replaceState(history.state, "", `#m${number}`);
    show(number);
  }
  const png = event.target.closest("[data-png]");
  if (png) savePng(png.dataset.png, png.dataset.name);
});

// Comparing: two at a time; a third choice lets the first go.
let chosen = [];
document.addEventListener("change", (event) => {
  if (!event.target.matches('.entries input[name="m"]')) return;
  chosen = chosen.filter((box) => box.checked && box.isConnected);
  if (event.target.checked) chosen = [...chosen, event.target];
  while (chosen.length > 2) chosen.shift().checked = false;
  compareButton();
});
function compareButton() {
  const button = document.querySelector("[data-compare]");
  if (!button) return;
  const count = document.querySelectorAll('.entries input[name="m"]:checked').length;
  button.disabled = count !== 2;
  button.title = count === 2 ? "" : "Choose two messages in the timeline first";
}
document.addEventListener("htmx:after:swap", () => {
  compareButton();
  const dialog = document.getElementById("compare");
  if (dialog.querySelector("table") && !dialog.open && dialog.dataset.fresh) dialog.showModal();
  delete dialog.dataset.fresh;
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "compare-form") document.getElementById("compare").dataset.fresh = "1";
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const back = document.querySelector("[data-back]");
  if (!back) return;
  if (document.referrer.startsWith(`${location.origin}/sessions`) && !document.referrer.includes(page())) history.back();
  else location.assign(back.href);
});
document.querySelector("[data-back]")?.addEventListener("click", (event) => {
  if (!document.referrer.startsWith(`${location.origin}/sessions?`) || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  history.back();
});

compareButton();
const hash = location.hash.match(/^#m(\d+)$/)?.[1];
if (hash) show(hash);

// The failing arrow is in sight also where the diagram is larger than its window.
function centreFailure() {
  const diagram = document.querySelector(".diagram");
  const arrow = diagram?.querySelector(".failing .line");
  if (!arrow) return;
  const [at, window_] = [arrow.getBoundingClientRect(), diagram.getBoundingClientRect()];
  if (at.bottom > window_.bottom) diagram.scrollTop += at.top - window_.top - window_.height / 2;
  if (at.right > window_.right) diagram.scrollLeft += at.right - window_.right + 24;
}
centreFailure();
document.addEventListener("htmx:after:swap", centreFailure);
