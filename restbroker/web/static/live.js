// Keeps a page fresh: takes its parts from the stream that the page names, and says whether it does. An action of
// several steps that a user has confirmed goes on by itself for as long as its page is open.
// The pages work without it. It asks only the server that the page came from.

const live = document.getElementById("live");
const state = document.getElementById("live-state");
const AGAIN_MS = 3000;

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

function put(name, html) {
  const part = document.getElementById(`part-${name}`);
  if (!part) return true;
  if (isBusy(part)) return false;
  const region = part.querySelector("[role=region]");
  const across = region ? region.scrollLeft : 0;
  const hadFocus = region !== null && region === document.activeElement;
  const made = new DOMParser().parseFromString(html, "text/html");
  part.replaceChildren(...made.body.childNodes);
  const next = part.querySelector("[role=region]");
  if (next) {
    next.scrollLeft = across;
    if (hadFocus) next.focus({ preventScroll: true });
  }
  return true;
}

function follow() {
  const waiting = new Map();
  const stream = new EventSource(live.dataset.stream);
  const settle = () => {
    for (const [name, html] of waiting) if (put(name, html)) waiting.delete(name);
  };
  stream.onmessage = (message) => {
    for (const [name, html] of Object.entries(JSON.parse(message.data))) waiting.set(name, html);
    settle();
    say("live", "ok");
  };
  stream.onerror = () => {
    say("not connected; trying again", "bad");
    if (stream.readyState === EventSource.CLOSED) {
      // Refused, as while the server restarts or when the login has ended: a new page knows what to do then.
      document.removeEventListener("focusout", settle);
      setTimeout(again, AGAIN_MS);
    }
  };
  document.addEventListener("focusout", () => setTimeout(settle));
  addEventListener("pagehide", () => stream.close());
}

async function again() {
  try {
    const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") location.reload();
    else follow();
  } catch {
    setTimeout(again, AGAIN_MS);
  }
}

const rest = document.getElementById("rest");
if (rest) {
  document.getElementById("goes-on").hidden = false;
  setTimeout(() => rest.requestSubmit(), Number(rest.dataset.afterMs));
}

if (live) follow();
