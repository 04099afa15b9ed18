// Shows the values of all charts at the minute under the pointer. The charts need it for nothing else.

const MINUTE_MS = 60000;

function clear() {
  document.querySelectorAll(".plot > .tip").forEach((tip) => tip.remove());
  document.querySelectorAll(".plot.at").forEach((plot) => plot.classList.remove("at"));
}

function show(plot, share) {
  const lines = [...plot.querySelectorAll(".line")].map((line) => [line, line.dataset.values.split(",")]);
  const count = lines[0][1].length;
  const place = Math.round(share * (count - 1));
  const at = (100 * place) / (count - 1);
  const cursor = plot.querySelector(".cursor");
  cursor.setAttribute("x1", `${at}%`);
  cursor.setAttribute("x2", `${at}%`);
  plot.classList.add("at");
  const tip = document.createElement("div");
  tip.className = "tip";
  const time = new Date(plot.dataset.first * 1000 + place * MINUTE_MS).toISOString().slice(11, 16);
  tip.append(`${time} UTC`);
  for (const [line, values] of lines) {
    const row = document.createElement("span");
    row.className = `key ${line.classList[1]}`;
    const value = values[place] === "" ? "–" : Number(values[place]).toLocaleString("en");
    row.append(`${line.dataset.name} ${value}`);
    tip.append(row);
  }
  tip.style[at > 50 ? "right" : "left"] = `calc(${at > 50 ? 100 - at : at}% + 0.6rem)`;
  plot.append(tip);
}

function follow(event) {
  const plot = event.target.closest?.(".plot");
  clear();
  if (!plot) return;
  const box = plot.getBoundingClientRect();
  const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  for (const each of document.querySelectorAll(".plot")) show(each, share);
}

document.addEventListener("pointermove", follow);
document.addEventListener("pointerdown", follow);
document.documentElement.addEventListener("pointerleave", clear);
