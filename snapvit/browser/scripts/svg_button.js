// A button that saves a plotly chart as SVG. Plotly's own camera saves it in one format, which is PNG.

import { downloadSvg } from "./download.js";
import { chartOf, layersOf } from "./private_names.js";
import { stacked } from "./svg.js";

const AGAIN_MS = 200;

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  button.textContent = "SVG";
  button.setAttribute("aria-label", `SVG: ${data.title}`);
  button.onclick = () => save(data);
}

function save({ chart, file, title }, triesLeft = 50) {
  const plot = chartOf(chart);
  const layers = plot ? layersOf(plot) : [];
  if (!layers.length) {
    if (triesLeft) setTimeout(() => save({ chart, file, title }, triesLeft - 1), AGAIN_MS); // it is still being drawn
    return;
  }
  const { width, height } = plot.getBoundingClientRect();
  const background = getComputedStyle(layers[0]).backgroundColor;
  downloadSvg(stacked(layers, title, width, height, background), `${file}.svg`);
}
