// Runs the search of the built site as the browser does, by the theme's own worker script, with the site's own index.
// Usage: node search.js SITE, with a list of queries as JSON on standard input. Prints {query: [[place, …] of a page, …]},
// the best page first, as JSON.
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const site = process.argv[2];
const workers = path.join(site, "assets/javascripts/workers");
const [script] = fs.readdirSync(workers).filter((name) => name.endsWith(".js"));

let answered = () => {};
const listeners = [];
const worker = {
  console, URL, setTimeout, clearTimeout,
  postMessage: (message) => answered(message),
  addEventListener: (_kind, listener) => listeners.push(listener),
  importScripts: () => {},
};
worker.self = worker.globalThis = worker;
vm.runInNewContext(fs.readFileSync(path.join(workers, script), "utf8"), worker);

// What the theme's page and its worker call these messages.
const SETUP = 0;
const QUERY = 2;

function ask(type, data) {
  return new Promise((resolve) => {
    answered = resolve;
    for (const listener of listeners) listener({ data: { type, data } });
  });
}

async function main() {
  const index = JSON.parse(fs.readFileSync(path.join(site, "search/search_index.json"), "utf8"));
  await ask(SETUP, { config: index.config, docs: index.docs, options: { suggest: true } });
  const found = {};
  for (const query of JSON.parse(fs.readFileSync(0, "utf8"))) {
    const { data } = await ask(QUERY, query);
    found[query] = data.items.map((page) => page.map((entry) => entry.location));
  }
  // Written whole before the end: what a pipe does not hold yet would be lost.
  process.stdout.write(JSON.stringify(found), () => process.exit(0));
}

main();
