// Returns what is wrong with the texts of the picture that is open: each as its text and what it touches.

const INSET = 3; // Between a text and the line around it.
const AIR = 2; // A line of text is higher than its letters.
const STEP = 2; // How closely an arrow is followed.

const wrong = [];
const whole = document.documentElement.viewBox.baseVal;

function meets(one, other) {
  return one.x < other.x + other.width && other.x < one.x + one.width
    && one.y + AIR < other.y + other.height && other.y + AIR < one.y + one.height;
}

function isWithin(inner, outer, inset) {
  return inner.x >= outer.x + inset && inner.x + inner.width <= outer.x + outer.width - inset
    && inner.y >= outer.y && inner.y + inner.height <= outer.y + outer.height;
}

function isCrossed(path, box) {
  for (let at = 0; at <= path.getTotalLength(); at += STEP) {
    const { x, y } = path.getPointAtLength(at);
    if (meets({ x: x - 1, y: y - 1 - AIR, width: 2, height: 2 + 2 * AIR }, box)) return true;
  }
  return false;
}

const boxes = [...document.querySelectorAll("g rect")].map((one) => one.getBBox());
const arrows = [...document.querySelectorAll("svg > path")];
const texts = [...document.querySelectorAll("text")].map((one) => ({
  said: one.textContent, box: one.getBBox(), frame: one.parentElement.querySelector(":scope > rect:not(.ground)"),
}));
for (const { said, box, frame } of texts) {
  if (frame) {
    if (!isWithin(box, frame.getBBox(), INSET)) wrong.push([said, "its box"]);
  } else {
    if (!isWithin(box, whole, 0)) wrong.push([said, "the edge"]);
    if (boxes.some((other) => meets(box, other))) wrong.push([said, "a box"]);
    if (arrows.some((path) => isCrossed(path, box))) wrong.push([said, "an arrow"]);
  }
  for (const other of texts) if (other.box !== box && meets(box, other.box)) wrong.push([said, other.said]);
}
return wrong;
