// Drawings as a file. What the style sheet says of them is written into it, since a file has no style sheet.

import { download, downloadSvg } from "../download.js";
import { add, set, SVG } from "../svg.js";

const STYLES = (
  "fill stroke stroke-width stroke-dasharray stroke-linecap stroke-linejoin paint-order " +
  "opacity font-size font-weight text-anchor display"
).split(" ");
const HEAD = 74; // px above each drawing for its heading and two lines of notes
const LEAST_WIDTH = 460; // px that these take
const GAP = 12; // px below it

// One picture of several drawings, one below the other; each part is {svg, heading, notes}.
function picture(parts, root) {
  const look = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const width = Math.max(LEAST_WIDTH, ...parts.map((part) => part.svg.clientWidth));
  const height = parts.reduce((sum, part) => sum + HEAD + part.svg.clientHeight + GAP, 0);
  const size = { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif" };
  const whole = document.createElementNS(SVG, "svg");
  set(whole, size);
  add(whole, "title", {}, parts.map((part) => part.heading).join("; "));
  add(whole, "rect", { width, height, fill: look("--paper") });
  let top = 0;
  for (const { svg, heading, notes } of parts) {
    add(whole, "text", { x: 10, y: top + 22, fill: look("--ink"), "font-size": 16, "font-weight": 600 }, heading);
    notes.forEach((note, line) =>
      add(whole, "text", { x: 10, y: top + 42 + 18 * line, fill: look("--muted"), "font-size": 13 }, note));
    const copy = styled(svg);
    set(copy, { y: top + HEAD, width: svg.clientWidth, height: svg.clientHeight, overflow: "visible" });
    whole.append(copy);
    top += HEAD + svg.clientHeight + GAP;
  }
  return { text: new XMLSerializer().serializeToString(whole), width, height };
}

function styled(svg) {
  const copy = svg.cloneNode(true);
  const copies = [copy, ...copy.querySelectorAll("*")];
  [svg, ...svg.querySelectorAll("*")].forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const name of STYLES) copies[i].style.setProperty(name, widelyRead(style.getPropertyValue(name)));
    copies[i].removeAttribute("class");
  });
  return copy;
}

// Mixed colours are given in a notation that not every program reads.
export function widelyRead(value) {
  const parts = value.match(/^color\(srgb ([\d.e-]+) ([\d.e-]+) ([\d.e-]+)(?: \/ ([\d.e-]+))?\)$/);
  if (!parts) return value;
  const [red, green, blue] = parts.slice(1, 4).map((share) => Math.round(255 * share));
  return `rgba(${red}, ${green}, ${blue}, ${parts[4] ?? 1})`;
}

export function savePicture(parts, root, file, kind) {
  const { text, width, height } = picture(parts, root);
  if (kind === "svg") return downloadSvg(text, `${file}.svg`);
  const image = new Image();
  image.onload = () => {
    const scale = Math.max(2, 1400 / width); // sharp on a slide, however narrow the page is
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: Math.round(scale * width), height: Math.round(scale * height) });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    download(canvas.toDataURL("image/png"), `${file}.png`);
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}
