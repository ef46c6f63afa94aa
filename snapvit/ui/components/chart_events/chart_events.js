// Listens to a plotly chart elsewhere on the page, whenever it is drawn anew, and tells Python.

const LOOK_MS = 250; // how often to look whether the chart was replaced
const REST_MS = 400; // a frame shown for so long is where the person stopped
const watches = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".events");
  let watch = watches.get(root);
  if (!watch) {
    watch = new Watch(root);
    watches.set(root, watch);
  }
  watch.chart = data.chart;
  watch.tell = setTriggerValue;
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => root.isConnected || watch.stop();
}

class Watch {
  constructor(root) {
    this.root = root;
    this.plot = null;
    this.rest = 0;
    this.clicked = (event) => this.click(event);
    this.framed = (event) => this.frame(event);
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  look() {
    const plot = document.querySelector(`.st-key-${CSS.escape(this.chart)} .js-plotly-plot`);
    if (plot === this.plot || !plot?.on) return;
    this.leave();
    this.plot = plot;
    plot.on("plotly_click", this.clicked);
    plot.on("plotly_animatingframe", this.framed);
    plot.setAttribute("data-events", "on");
  }

  leave() {
    clearTimeout(this.rest);
    this.plot?.removeListener?.("plotly_click", this.clicked);
    this.plot?.removeListener?.("plotly_animatingframe", this.framed);
    this.plot = null;
  }

  click(event) {
    const point = event.points?.[0];
    if (point?.data.type === "heatmap") this.tell("cell", Array.from(point.pointIndex ?? point.pointNumber));
  }

  frame(event) {
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.tell("frame", event.name), REST_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.leave();
  }
}
