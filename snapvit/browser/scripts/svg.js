// SVG by hand.

export const SVG = "http://www.w3.org/2000/svg";

export function add(parent, tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  set(node, attributes);
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
}

export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

// Several drawings that lie over one another as the text of one, `width` x `height` px.
export function stacked(layers, title, width, height, background) {
  const whole = document.createElementNS(SVG, "svg");
  set(whole, { width, height, viewBox: `0 0 ${width} ${height}` });
  add(whole, "title", {}, title);
  add(whole, "rect", { width, height, fill: background });
  whole.append(...layers.map((layer) => layer.cloneNode(true)));
  return new XMLSerializer().serializeToString(whole);
}
