// Keeps a page fresh: requests its parts again and again while it is visible, and says whether that works.
// The pages work without it. It asks only the server that the page came from.

const live = document.getElementById("live");
const state = document.getElementById("live-state");
const LOOK_MS = 1500;
const AGAIN_MS = 3000;
const shown = new Map();
const waiting = new Map();
let timer;

function say(text, tone) {
  if (state.textContent !== text) {
    state.textContent = text;
    state.dataset.tone = tone;
  }
}

function isBusy(part) {
  // What the user is using stays until they leave it: a focused control, an opened detail, marked text.
  const focus = document.activeElement;
  if (focus && focus !== document.body && part.contains(focus) && !focus.matches("[role=region]")) return true;
  const marked = document.getSelection();
  return Boolean(marked && !marked.isCollapsed && part.contains(marked.anchorNode));
}

function put(part, next) {
  const region = part.querySelector("[role=region]");
  const across = region ? region.scrollLeft : 0;
  const hadFocus = region !== null && region === document.activeElement;
  part.replaceChildren(...next.childNodes);
  const made = part.querySelector("[role=region]");
  if (made) {
    made.scrollLeft = across;
    if (hadFocus) made.focus({ preventScroll: true });
  }
}

function settle() {
  for (const [id, next] of waiting) {
    const part = document.getElementById(id);
    if (isBusy(part)) continue;
    put(part, next);
    waiting.delete(id);
  }
}

function take(html) {
  for (const next of new DOMParser().parseFromString(html, "text/html").querySelectorAll("[id^=part-]")) {
    if (shown.get(next.id) === next.innerHTML) continue;
    shown.set(next.id, next.innerHTML);
    waiting.set(next.id, next);
  }
}

async function look() {
  let isWell = false;
  try {
    const headers = { "If-None-Match": live.dataset.tag };
    const answer = await fetch(live.dataset.fragment, { headers, cache: "no-store" });
    // The login has changed: a new page asks for it.
    if (answer.status === 401) return location.reload();
    if (answer.ok) {
      take(await answer.text());
      live.dataset.tag = answer.headers.get("ETag");
    }
    isWell = answer.ok || answer.status === 304;
  } catch {
    // The server is away, or starts anew.
  }
  settle();
  if (isWell) say("live", "ok");
  else say("not connected; trying again", "bad");
  lookIn(isWell ? LOOK_MS : AGAIN_MS);
}

function lookIn(ms) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, ms);
}

if (live) {
  document.addEventListener("focusout", () => setTimeout(settle));
  document.addEventListener("visibilitychange", () => lookIn(0));
  lookIn(0);
}
