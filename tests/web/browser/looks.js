// What the tests ask a page: how it looks, and what there is to be reached. Put before each question.

const WORDS_LIMIT = 60;

function brief(text) {
  return text.trim().replace(/\s+/g, " ").slice(0, WORDS_LIMIT);
}

function isSeen(element) {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
  const box = element.getBoundingClientRect();
  // What is only for screen readers is one pixel large, or left of the page until it has the focus.
  return box.width > 1 && box.height > 1 && box.right > 0;
}

// Red, green, blue from 0 to 255, and alpha.
function channels(colour) {
  const numbers = colour.match(/[\d.]+/g).map(Number);
  return numbers.length > 3 ? numbers : [...numbers, 1];
}

function over(front, back) {
  const alpha = front[3];
  return [0, 1, 2].map((place) => front[place] * alpha + back[place] * (1 - alpha)).concat(1);
}

function ground(element) {
  const layers = [];
  for (let one = element; one; one = one.parentElement) layers.push(channels(getComputedStyle(one).backgroundColor));
  return layers.reverse().reduce((below, above) => over(above, below), [255, 255, 255, 1]);
}

// As WCAG 2.2 defines it.
function luminance(colour) {
  const linear = colour.slice(0, 3).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(colour, element) {
  const below = ground(element);
  const [light, dark] = [over(channels(colour), below), below].map(luminance).sort((one, other) => other - one);
  return (light + 0.05) / (dark + 0.05);
}

function told(ratio, text, element) {
  const name = element.className ? `${element.localName}.${element.className}` : element.localName;
  return `${ratio.toFixed(2)} ${name}: ${brief(text)}`;
}

// Every text that is seen, and how far it stands out from what is behind it.
function contrasts() {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data;
    const element = walker.currentNode.parentElement;
    if (text.trim() && isSeen(element)) found.push([contrast(getComputedStyle(element).color, element), text, element]);
  }
  for (const input of document.querySelectorAll("input:not([type=hidden], [type=checkbox])")) {
    if (!isSeen(input)) continue;
    found.push([contrast(getComputedStyle(input).color, input), input.value || input.name, input]);
    if (input.placeholder) {
      found.push([contrast(getComputedStyle(input, "::placeholder").color, input), input.placeholder, input]);
    }
  }
  return found.map(([ratio, text, element]) => [ratio, told(ratio, text, element)]);
}

function nameOf(element) {
  const label = document.getElementById(element.getAttribute("aria-labelledby")) || (element.labels && element.labels[0]);
  const name = element.getAttribute("aria-label") || (label || element).textContent || element.name || "";
  // Without digits: numbers change while a page is open.
  return `${element.localName} ${brief(name).replace(/\d/g, "")} ${element.getAttribute("href") || ""}`.trim();
}

// Whatever can be used, by name.
function stops() {
  const all = 'a[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex="0"]';
  return [...document.querySelectorAll(all)].filter((one) => one.checkVisibility()).map(nameOf);
}

// Has the next visits to be noted, from the top of the page on: names, and whether one sees where the focus is.
function noteVisits() {
  window.visited = [];
  document.body.tabIndex = -1;
  document.body.focus();
  document.addEventListener("focusin", (event) => {
    const style = getComputedStyle(event.target);
    const isPlain = event.target.matches(":focus-visible") && style.outlineStyle === "solid";
    window.visited.push([nameOf(event.target), isPlain && parseFloat(style.outlineWidth) >= 2]);
  });
}

// The rows of all tables, as the texts of their cells.
function rows() {
  return [...document.querySelectorAll("main tbody tr")].map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
}

// The large numbers, by their names.
function totals() {
  return Object.fromEntries([...document.querySelectorAll(".totals div")].map((one) => [
    one.querySelector("dt").innerText, Number(one.querySelector("dd").innerText.split(/\s/)[0].replaceAll(",", "")),
  ]));
}

function idsUsedTwice() {
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return ids.filter((id, place) => ids.indexOf(id) !== place);
}

// How much wider than the window the page is.
function tooWide() {
  return document.documentElement.scrollWidth - window.innerWidth;
}

// Words in tables that begin in one line and end in another, but for those that no column need make room for.
function brokenWords(longest) {
  const found = [];
  for (const cell of document.querySelectorAll("main td, main th")) {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const text = walker.currentNode;
      if (!isSeen(text.parentElement) || text.parentElement.closest(".args")) continue;
      // A browser may break behind a hyphen, as people do.
      for (const word of text.data.matchAll(/[^\s-]+-?/g)) {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (word[0].length <= longest && lines.size > 1) found.push(word[0]);
      }
    }
  }
  return found;
}

// How deep each heading is, in their order.
function levels() {
  return [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((one) => Number(one.localName[1]));
}
