// Buttons without a trip to the server: a figure as a picture, the address of the view.

function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  if (label) made.setAttribute("aria-label", label);
  made.onclick = () => act(made);
  return made;
}

// Plotly draws the picture itself: its own camera button, told the format first.
function save(chart, file, format, triesLeft = 50) {
  const plot = document.querySelector(`.st-key-${CSS.escape(chart)} .js-plotly-plot`);
  const camera = plot?.querySelector('.modebar-btn[data-title^="Download plot"]');
  if (!camera) {
    if (triesLeft) setTimeout(() => save(chart, file, format, triesLeft - 1), 200); // the chart is still being drawn
    return;
  }
  // A narrow figure is enlarged more, so that every picture is sharp on a slide.
  const scale = format === "png" ? Math.max(2, 1400 / plot.clientWidth) : 1;
  plot._context.toImageButtonOptions = { format, filename: file, scale };
  camera.click();
}

async function copy(made) {
  const before = made.textContent;
  try {
    await navigator.clipboard.writeText(window.location.href);
    made.textContent = "Copied";
  } catch {
    made.textContent = "Copy it from the address bar";
  }
  setTimeout(() => (made.textContent = before), 2000);
}

export default function ({ data, parentElement }) {
  const tools = parentElement.querySelector(".tools");
  const made = data.chart
    ? ["PNG", "SVG"].map((kind) =>
        button(kind, `${kind}: ${data.title}`, () => save(data.chart, data.file, kind.toLowerCase())))
    : [button("Copy link to this view", null, copy)];
  tools.replaceChildren(...made);
}
