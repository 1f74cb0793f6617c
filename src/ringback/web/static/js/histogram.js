// Zooming in the strip: by dragging over it, or with the arrow keys (shift widens the choice) and Enter.
const buckets = (plot) => [...plot.querySelectorAll(".bucket")];

function zoom(plot, first, last) {
  const all = buckets(plot);
  const [from, to] = first <= last ? [first, last] : [last, first];
  const url = new URL(plot.dataset.zoom, location.href);
  url.searchParams.set("from", all[from].dataset.start);
  url.searchParams.set("to", all[to].dataset.end);
  location.assign(url);
}

function choose(plot, first, last) {
  const [from, to] = first <= last ? [first, last] : [last, first];
  buckets(plot).forEach((bucket, index) => bucket.classList.toggle("chosen", index >= from && index <= to));
  const chosen = buckets(plot).slice(from, to + 1);
  const says = plot.parentElement.querySelector("[data-histogram-says]");
  if (says) {
    const titles = chosen.map((bucket) => bucket.querySelector("title").textContent);
    says.textContent = titles.length > 1 ? `${titles[0].split(":")[0]} and ${titles.length - 1} more bars` : (titles[0] ?? "");
  }
}

function indexAt(plot, clientX) {
  const box = plot.getBoundingClientRect();
  const count = buckets(plot).length;
  return Math.min(count - 1, Math.max(0, Math.floor(((clientX - box.left) / box.width) * count)));
}

let drag = null;

document.addEventListener("pointerdown", (event) => {
  const plot = event.target.closest("[data-histogram]");
  if (plot && event.button === 0) drag = { plot, start: indexAt(plot, event.clientX), x: event.clientX, moved: false };
});
document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.moved ||= Math.abs(event.clientX - drag.x) > 4;
  if (drag.moved) choose(drag.plot, drag.start, indexAt(drag.plot, event.clientX));
});
document.addEventListener("pointerup", (event) => {
  if (drag?.moved) zoom(drag.plot, drag.start, indexAt(drag.plot, event.clientX));
  else if (drag) drag = null;
});
document.addEventListener("pointercancel", () => { drag = null; });
// A drag ends on a bar, which is a link to itself only: the drag wins.
document.addEventListener("click", (event) => {
  if (drag?.moved) event.preventDefault();
  drag = null;
}, true);
document.addEventListener("dragstart", (event) => {
  if (event.target.closest?.("[data-histogram]")) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  const plot = event.target.closest?.("[data-histogram]");
  if (!plot) return;
  const count = buckets(plot).length;
  const last = Number(plot.dataset.last ?? -1);
  const anchor = Number(plot.dataset.anchor ?? last);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) {
    event.preventDefault();
    const next = last < 0 ? (step > 0 ? 0 : count - 1) : Math.min(count - 1, Math.max(0, last + step));
    plot.dataset.last = next;
    if (!event.shiftKey || last < 0) plot.dataset.anchor = next;
    choose(plot, Number(plot.dataset.anchor), next);
  } else if (event.key === "Enter" && last >= 0) {
    zoom(plot, anchor, last);
  } else if (event.key === "Escape" && last >= 0) {
    delete plot.dataset.last;
    delete plot.dataset.anchor;
    choose(plot, 1, 0);
    event.stopPropagation();
  }
});
