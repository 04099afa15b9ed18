// Keeps a page fresh, and takes keys. Pages work without it; it asks only the server that they came from.
// An element `live` says where the parts of the page are (data-fragment), and how often to ask for them (data-every,
// in ms). Parts, with an id `part-…`, are replaced, but for what is used just now.

const live = document.getElementById("live");
const state = document.getElementById("live-state");
const LOOK_MS = 1500;
const AGAIN_MS = 3000;
const RESTS = 10;
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
  // What the user is using stays until they leave it: a focused control, an opened detail, a ticked box, marked text,
  // a chart under the pointer.
  const focus = document.activeElement;
  if (focus && focus !== document.body && part.contains(focus) && !focus.matches("[role=region]")) return true;
  if (part.querySelector("details[open], input:checked, .plot.at")) return true;
  const marked = document.getSelection();
  return Boolean(marked && !marked.isCollapsed && part.contains(marked.anchorNode));
}

function put(part, next) {
  const region = part.querySelector("[role=region]");
  const across = region ? region.scrollLeft : 0;
  const hadFocus = region !== null && region === document.activeElement;
  part.replaceChildren(...next.childNodes);
  fold();
  const made = part.querySelector("[role=region]");
  if (made) {
    made.scrollLeft = across;
    if (hadFocus) made.focus({ preventScroll: true });
  }
}

// What is longer than three lines has a button that opens it. What is open stays so when its part comes anew.
const opened = new Set();

function fold() {
  for (const button of document.querySelectorAll("button.more")) {
    const text = document.getElementById(button.getAttribute("aria-controls"));
    const isOpen = opened.has(text.id);
    text.classList.toggle("open", isOpen);
    button.hidden = !isOpen && text.scrollHeight <= text.clientHeight + 1;
    button.ariaExpanded = isOpen;
    button.textContent = isOpen ? "Less" : "More";
  }
}

function turn(event) {
  const id = event.target.closest("button.more")?.getAttribute("aria-controls");
  if (!id) return;
  if (!opened.delete(id)) opened.add(id);
  fold();
}

document.addEventListener("click", turn);
window.addEventListener("resize", fold);
for (const part of document.querySelectorAll("[id^=part-]")) shown.set(part.id, part.innerHTML);
fold();

function settle() {
  for (const [id, next] of waiting) {
    const part = document.getElementById(id);
    if (part && isBusy(part)) continue;
    if (part) put(part, next);
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
  const began = Date.now();
  let isWell = false;
  try {
    const headers = { Accept: "text/html", ...(live.dataset.tag ? { "If-None-Match": live.dataset.tag } : {}) };
    // Not relative to the page's own address: with a login in that (http://ops:…@…/), fetch refuses.
    const address = new URL(live.dataset.fragment, location.origin + location.pathname);
    const answer = await fetch(address, { headers, cache: "no-store" });
    // The login has changed: a new page asks for it.
    if (answer.status === 401) return location.reload();
    if (answer.ok) {
      take(await answer.text());
      live.dataset.tag = answer.headers.get("ETag") || "";
    }
    isWell = answer.ok || answer.status === 304;
  } catch {
    // The server is away, or starts anew.
  }
  settle();
  if (isWell) say("live", "ok");
  else say("not connected; trying again", "bad");
  lookIn(isWell ? Math.max(live.dataset.every || LOOK_MS, RESTS * (Date.now() - began)) : AGAIN_MS);
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

// `/` searches on this page, `?` shows all keys, `g` and a letter lead to a page. Only one menu is open at a time.
const GO_MS = 1500;
const keys = document.getElementById("keys");
let goUntil = 0;

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const page = Date.now() < goUntil && keys.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  goUntil = event.key === "g" ? Date.now() + GO_MS : 0;
  const search = document.querySelector("main input[type=search]") || document.getElementById("find");
  if (page) location.assign(page.dataset.path);
  else if (event.key === "?") keys.showModal();
  else if (event.key === "/" && search) search.focus();
  else return;
  event.preventDefault();
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (event.key !== "Escape" && menu.contains(event.target)) continue;
    if (event.key === "Escape" && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
}

if (keys) {
  const button = document.getElementById("show-keys");
  button.hidden = false;
  button.addEventListener("click", () => keys.showModal());
  document.addEventListener("keydown", press);
}
document.addEventListener("click", closeMenus);
document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(event));
