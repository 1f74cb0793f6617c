// Small things that several modules need.
export function setCookie(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`;
}

export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

// True while the person writes: single-key shortcuts then mean letters.
export function isTyping(target) {
  return Boolean(target.closest?.("input, textarea, select, [contenteditable]"));
}

export function say(text, tone = "") {
  const box = document.getElementById("messages");
  const note = document.createElement("p");
  note.className = `note ${tone}`;
  note.textContent = text;
  box.replaceChildren(note);
}
