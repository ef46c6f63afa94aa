// SVG by hand. Python puts this file in front of live_sparsity.js.

const SVG = "http://www.w3.org/2000/svg";

// What the curve shows: accuracy, or the cosine where the images allow no accuracy.
const ACCURACY = {
  name: "top-1", title: "k-NN top-1 (%)", of: (point) => point.top1, text: percent, tick: (tick) => tick,
  heading: "Accuracy of the cut",
};
const COSINE = {
  name: "cosine", title: "Cosine to full model", of: (point) => point.cosine, text: (cosine) => decimal(cosine, 3),
  tick: (tick) => decimal(tick / 100, 2), heading: "Cosine of the cut to the full model",
};

// ---- drawing

function add(parent, tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  set(node, attributes);
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

function isDark(root) {
  const colour = getComputedStyle(root).getPropertyValue("--st-background-color").trim();
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = colour || "#fff";
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(probe.fillStyle.slice(at, at + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue < 128;
}

function line(parent, kind, x1, y1, x2, y2) {
  return add(parent, "line", { class: kind, x1, y1, x2, y2 });
}

function hatch(svg, id) {
  const shape = { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  const pattern = add(add(svg, "defs"), "pattern", shape);
  line(pattern, "hatch-line", 3, 0, 3, 6);
}

function sideTitle(svg, x, y, text) {
  const place = { class: "axis-title", "text-anchor": "middle", transform: `translate(${x} ${y}) rotate(-90)` };
  add(svg, "text", place, text);
}
