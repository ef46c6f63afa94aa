// What the charts of the live slider are drawn of.

import { decimal, percent } from "../formats.js";
import { add } from "../svg.js";

// What the curve shows: accuracy, or the cosine where the images allow no accuracy.
export const ACCURACY = {
  name: "top-1", title: "k-NN top-1 (%)", of: (point) => point.top1, text: percent, tick: (tick) => tick,
  heading: "Accuracy of the cut",
};
export const COSINE = {
  name: "cosine", title: "Cosine to full model", of: (point) => point.cosine, text: (cosine) => decimal(cosine, 3),
  tick: (tick) => decimal(tick / 100, 2), heading: "Cosine of the cut to the full model",
};

export function line(parent, kind, x1, y1, x2, y2) {
  return add(parent, "line", { class: kind, x1, y1, x2, y2 });
}

export function hatch(svg, id) {
  const shape = { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  const pattern = add(add(svg, "defs"), "pattern", shape);
  line(pattern, "hatch-line", 3, 0, 3, 6);
}

export function sideTitle(svg, x, y, text) {
  const place = { class: "axis-title", "text-anchor": "middle", transform: `translate(${x} ${y}) rotate(-90)` };
  add(svg, "text", place, text);
}
