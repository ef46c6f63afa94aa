// Watches one plotly chart, also when it is drawn anew.

import { common } from "../common.js";
import { buttonsOf, buttonWith, chartOf, framesOf, labelChart, show } from "../private_names.js";
import { rove } from "../roving.js";

const LOOK_MS = 100; // how often to look whether the chart was replaced
const REST_MS = 400; // a frame shown for so long is where the person stopped

export class Watch {
  constructor() {
    this.plot = null;
    this.rest = 0;
    this.granted = -1; // number of the last jump
    this.clicked = (event) => this.click(event);
    this.framed = (event) => this.frame(event);
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  look() {
    const plot = chartOf(this.data.chart, this.data.base);
    if (!plot) return;
    if (plot !== this.plot) {
      this.leave();
      this.plot = plot;
      this.granted = -1; // a chart that was drawn anew begins at its own frame
      plot.on("plotly_click", this.clicked);
      plot.on("plotly_animatingframe", this.framed);
      plot.setAttribute("data-events", "on");
    }
    labelChart(plot, this.data.alt);
    this.fill(plot);
    this.change(plot);
    this.jump(plot);
    this.name(plot);
  }

  // Whoever hears a button's name alone hears of which figure it is; plotly makes its buttons anew now and then.
  name(plot) {
    const { chart, title } = this.data;
    const { bar, buttons, does } = buttonsOf(plot);
    if (bar && bar.dataset.of !== title) {
      bar.dataset.of = title;
      bar.setAttribute("aria-label", `Buttons of the figure: ${title}`);
      for (const button of buttons) button.setAttribute("aria-label", `${does(button)}: ${title}`);
      rove(buttons);
    }
    buttonWith(`csv_${chart}`)?.setAttribute("aria-label", `CSV: ${title}`);
  }

  // Writes the entries of matrix stacks, see matrix_stack.js, into a heat map and its frames.
  fill(plot) {
    const { numbers } = this.data;
    const wanted = JSON.stringify(numbers);
    const [stack, less] = [numbers?.of, numbers?.less].map((name) => common.stacks.get(name));
    if (!stack || (numbers.less && !less) || plot.layout.meta.filled === wanted) return;
    const entry = (k) => (i, j) => {
      const [value, taken] = [stack.entry(k, i, j), less ? less.entry(0, i, j) : 0];
      return value === null || taken === null ? null : value - taken;
    };
    const matrix = (k) => numbers.order.map((i) => numbers.order.map((j) => entry(k)(i, j)));
    const frames = framesOf(plot);
    frames.forEach((frame, k) => (frame.data[0].z = matrix(k)));
    const figure = { data: [...plot.data], layout: { ...plot.layout } };
    const shown = frames.length ? figure.layout.sliders[0].active : 0;
    put(figure, ["data", 0, "z"], frames.length ? frames[shown].data[0].z : matrix(0));
    put(figure, ["layout", "meta", "filled"], wanted);
    show(plot, figure);
  }

  // What is different stands in the layout's `meta`, with what was there before: Streamlit keeps a chart's figure when
  // it draws it anew, in full screen or in another theme.
  change(plot) {
    const { done = "[]", before = [], ...meta } = plot.layout.meta;
    const wanted = JSON.stringify(this.data.changes);
    if (done === wanted) return;
    const figure = { data: [...plot.data], layout: { ...plot.layout } };
    before.forEach(({ path, value }) => put(figure, path, value));
    const places = this.data.changes.map(({ path }) => ({ path, value: at(figure, path) }));
    this.data.changes.forEach(({ path, value }) => put(figure, path, bold(path, value, at(figure, path))));
    figure.layout.meta = { ...meta, done: wanted, before: places };
    show(plot, figure);
  }

  jump(plot) {
    const [name, number] = this.data.jump ?? [null, -1];
    if (number <= this.granted) return;
    const frame = framesOf(plot).find((one) => one.name === name);
    if (!frame) return;
    this.granted = number;
    const slider = plot.layout.sliders[0];
    if (slider.steps[slider.active].label === name) return;
    const figure = { data: [...plot.data], layout: { ...plot.layout } };
    frame.traces.forEach((trace, i) => {
      for (const [part, value] of Object.entries(frame.data[i])) if (part !== "type") put(figure, ["data", trace, part], value);
    });
    const active = figure.layout.sliders[0].steps.findIndex((step) => step.label === name);
    put(figure, ["layout", "sliders", 0, "active"], active);
    show(plot, figure);
  }

  leave() {
    clearTimeout(this.rest);
    this.plot?.removeListener?.("plotly_click", this.clicked);
    this.plot?.removeListener?.("plotly_animatingframe", this.framed);
    this.plot = null;
  }

  click(event) {
    const point = event.points?.[0];
    if (!point) return;
    if (point.data.type === "heatmap") this.tell("cell", Array.from(point.pointIndex ?? point.pointNumber));
    else if (point.customdata !== undefined) this.tell("point", point.customdata);
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

export function at(figure, path) {
  return path.reduce((part, name) => part?.[name], figure);
}

// Containers on the way are replaced by copies, so that plotly sees that they changed.
export function put(figure, path, value) {
  let part = figure;
  for (const name of path.slice(0, -1)) {
    part[name] = Array.isArray(part[name]) ? [...part[name]] : { ...part[name] };
    part = part[name];
  }
  const last = path[path.length - 1];
  if (value === undefined) delete part[last];
  else part[last] = value;
}

// Streamlit's theme makes a figure's title bold.
export function bold(path, value, before) {
  const themed = path.join(".") === "layout.title.text" && before?.startsWith("<b>");
  return themed && value !== undefined ? `<b>${value}</b>` : value;
}
