// Captures one after the other, with the progress of each; the server answers with what became of it.
import { csrfToken } from "./browser.js";

const form = document.querySelector("[data-drop]");
const list = document.querySelector("[data-uploads]");
const chooser = form.querySelector('input[type="file"]');
let waiting = Promise.resolve();

function take(files) {
  for (const file of files) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    const says = document.createElement("span");
    const bar = document.createElement("progress");
    name.textContent = file.name;
    says.className = "soft";
    says.textContent = "waiting";
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Progress of ${file.name}`);
    item.append(name, " ", says, bar);
    list.prepend(item);
    waiting = waiting.then(() => send(file, item, says, bar));
  }
}

function send(file, item, says, bar) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file);
    const place = form.querySelector('[name="environment"]');
    if (place) body.append("environment", place.value);
    request.open("POST", form.action);
    request.setRequestHeader("X-CSRF-Token", csrfToken());
    request.setRequestHeader("HX-Request", "true");
    request.setRequestHeader("HX-Current-URL", location.href);
    request.upload.onprogress = (event) => {
      bar.value = event.loaded;
      says.textContent = `sending, ${Math.floor((event.loaded / event.total) * 100)} %`;
    };
    request.upload.onload = () => {
      bar.removeAttribute("value");
      says.textContent = "importing";
    };
    request.onload = () => {
      const login = request.getResponseHeader("HX-Redirect");
      if (login) location.assign(login);
      const answer = new DOMParser().parseFromString(request.responseText, "text/html").body;
      if (request.status < 400) item.replaceChildren(...answer.childNodes);
      else fail(item, file, answer.textContent.trim());
      done();
    };
    request.onerror = () => {
      fail(item, file, "The connection broke. Send the file again; what was imported is not stored twice.");
      done();
    };
    request.send(body);
  });
}

function fail(item, file, reason) {
  const tag = document.createElement("span");
  const name = document.createElement("b");
  const text = document.createElement("p");
  tag.className = "tag bad";
  tag.textContent = "✕ Not imported";
  name.textContent = file.name;
  text.className = "problem";
  text.textContent = reason;
  item.replaceChildren(tag, " ", name, text);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  take(chooser.files);
  chooser.value = "";
});
chooser.addEventListener("change", () => {
  take(chooser.files);
  chooser.value = "";
});
form.querySelector("[data-send]").hidden = true; // choosing sends at once

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    form.classList.add("over");
  });
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) form.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  take(event.dataTransfer.files);
});
