// Names of Streamlit's and plotly's pages that they do not call public: all that the scripts use, and nowhere else.
// The versions that they were checked with, and Python's side of them, are in snapvit/private_names.py.

// The chart with this key of Streamlit's and, if it is given, this `base` in its layout's meta, which tells it from one
// on its way out.
export function chartOf(key, base = null) {
  const plots = [...document.querySelectorAll(`${ofKey(key)} .js-plotly-plot`)];
  return plots.find((plot) => plot.on && (base === null || plot.layout?.meta?.base === base)) ?? null;
}

export function framesOf(plot) {
  return plot._transitionData?._frames ?? [];
}

// Has Streamlit, which takes a chart's figure over whenever plotly says that it redrew one, draw this figure.
export function show(plot, figure) {
  Object.assign(plot, figure);
  plot.emit("plotly_redraw");
}

export function labelChart(plot, alt) {
  plot.closest('[data-testid="stPlotlyChart"]')?.setAttribute("aria-label", alt);
}

// The chart's own buttons: their bar, and each with what it does.
export function buttonsOf(plot) {
  const bar = plot.querySelector(".modebar");
  const buttons = bar ? [...bar.querySelectorAll(".modebar-btn")] : [];
  return { bar, buttons, does: (button) => button.dataset.title };
}

// The layers of drawings that lie over one another.
export function layersOf(plot) {
  return [...plot.querySelectorAll(".main-svg")];
}

// The button with this key of Streamlit's.
export function buttonWith(key) {
  return document.querySelector(`${ofKey(key)} button`);
}

// Where Streamlit keeps the theme that a person chose: apart for each page, and read when a page is loaded. Pages by the
// last part of their addresses.
export function themePlaces(pages) {
  const { pathname } = window.location;
  const base = pathname.slice(0, pathname.lastIndexOf("/") + 1);
  return pages.map((page) => `stActiveTheme-${base}${page}-v2`);
}

function ofKey(key) {
  return `.st-key-${CSS.escape(key)}`;
}
