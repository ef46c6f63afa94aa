// The charts but for what moves with the thumb: drawn anew when the data or the width changes.

import { ratio } from "../formats.js";
import { add } from "../svg.js";
import { isDark } from "../theme.js";
import { ACCURACY, hatch, line, sideTitle } from "./drawing.js";
import { ticksAbout } from "./reading.js";

const THUMB = 26; // px, as in the style sheet: a native thumb's centre travels this much less than the input's width

export class Charts {
  resized() {
    if (this.width !== this.root.clientWidth) this.draw();
  }

  draw() {
    this.width = this.root.clientWidth;
    if (!this.width) return; // not on the page yet, whose colours are unknown then too
    this.root.dataset.theme = isDark(this.root) ? "dark" : "light";
    this.drawCurve();
    this.drawNeurons();
    this.drawHeads();
    this.follow();
  }

  drawCurve() {
    const { curve: svg, data, thumb, lead } = this;
    const { points } = data;
    const [left, right, top, below] = [62, 14, 22, 84];
    const width = svg.clientWidth - left - right;
    const height = svg.clientHeight - top - below;
    const bottom = top + height;
    const last = data.steps.sparsity.at(-1);
    const ticks = this.ticks();
    const [low, high] = [ticks[0] / 100, ticks.at(-1) / 100];
    const x = (share) => left + (width * share) / last;
    const y = (share) => bottom - (height * (Math.max(low, share) - low)) / (high - low); // a cosine may be negative
    this.plot = { x, y, left, width, top, bottom };
    svg.replaceChildren();
    hatch(svg, "unknown");

    for (const tick of ticks) {
      line(svg, tick === ticks[0] ? "baseline" : "grid", left, y(tick / 100), left + width, y(tick / 100));
      add(svg, "text", { class: "tick", x: left - 10, y: y(tick / 100) + 5, "text-anchor": "end" }, lead.tick(tick));
    }
    for (let tick = 0; tick <= 100 * last + 1e-6; tick += width < 420 ? 20 : 10) {
      add(svg, "text", { class: "tick", x: x(tick / 100), y: bottom + 54, "text-anchor": "middle" }, tick);
    }
    add(svg, "text", { class: "axis-title", x: left + width / 2, y: bottom + 77, "text-anchor": "middle" }, "Sparsity (%)");
    sideTitle(svg, 16, top + height / 2, lead.title);
    this.guide = line(svg, "guide", 0, top, 0, bottom + 24);

    this.part("waiting").hidden = points.length > 0;
    if (points.length) {
      const [from, to] = [points[0].sparsity, points.at(-1).sparsity];
      this.unknown(x(0), x(from));
      this.unknown(x(to), x(last));
      if (from < 1e-6) {
        const level = y(lead.of(points[0]));
        line(svg, "full", left, level, left + width, level);
        const name = `full model ${lead.text(lead.of(points[0]))}`;
        add(svg, "text", { class: "aside", x: left + width, y: level - 8, "text-anchor": "end" }, name);
      }
      if (lead === ACCURACY) {
        const there = points.map((point) => `${x(point.sparsity)},${y(point.high)}`);
        const back = points.map((point) => `${x(point.sparsity)},${y(point.low)}`).toReversed();
        add(svg, "polygon", { class: "interval", points: [...there, ...back].join(" ") });
      }
      const { other } = data;
      const legend = this.part("other-legend");
      legend.hidden = !other.length;
      if (other.length) add(svg, "polyline", { class: "other", points: other.map(([at, value]) => `${x(at)},${y(value)}`).join(" ") });
      add(svg, "polyline", { class: "path", points: points.map((p) => `${x(p.sparsity)},${y(lead.of(p))}`).join(" ") });
      const radius = width / points.length > 14 ? 4 : 3;
      for (const point of points) {
        add(svg, "circle", { class: "point", cx: x(point.sparsity), cy: y(lead.of(point)), r: radius });
      }
    }
    if (data.chance !== null) {
      const [lower, level] = [data.chance < low, y(data.chance)];
      if (!lower) line(svg, "chance", left, level, left + width, level);
      const words = `chance ${ratio(data.chance)}`;
      add(svg, "text", { class: "aside", x: left + 8, y: level - 8 }, lower ? `↓ ${words}, below this axis` : words);
    }

    this.marker = add(svg, "circle", { class: "marker", r: 8 });
    this.callout = add(svg, "text", { class: "callout" });
    thumb.style.left = `${left - THUMB / 2}px`;
    thumb.style.width = `${width + THUMB}px`;
    thumb.style.top = `${bottom + 6}px`;
  }

  // Of the curve's axis, in percent: from 0 to 100, or about what is measured.
  ticks() {
    const { data, lead } = this;
    const known = data.points.flatMap((point) => (lead === ACCURACY ? [point.low, point.high] : [lead.of(point)]));
    if (!this.zoom.checked || !known.length) return [0, 20, 40, 60, 80, 100];
    return ticksAbout(known.concat(data.other.map(([, value]) => value)));
  }

  unknown(from, to) {
    const { top, bottom } = this.plot;
    if (to - from < 2) return;
    add(this.curve, "rect", { class: "unknown", x: from, y: top, width: to - from, height: bottom - top, fill: "url(#unknown)" });
    if (to - from < 140) return;
    const middle = { class: "aside", x: (from + to) / 2, y: (top + bottom) / 2, "text-anchor": "middle" };
    add(this.curve, "text", middle, "not measured yet");
  }

  // Axes of a chart with one column for each block; returns how to place a column and a share of its height.
  blockAxes(svg, title, full, ticks) {
    const blocks = this.data.steps.neurons[0].length;
    const left = 58;
    const width = svg.clientWidth - left - 2;
    const pitch = width / blocks;
    // A count wider than its column would run into its neighbour's.
    const room = pitch >= 7.3 * String(full).length + 3;
    const top = room ? 24 : 10;
    const height = svg.clientHeight - top - 44;
    const gap = Math.min(6, 0.25 * pitch);
    svg.replaceChildren();
    hatch(svg, svg.dataset.testid);
    for (const tick of ticks) {
      const y = top + height * (1 - tick / full);
      add(svg, "text", { class: "tick", x: left - 10, y: y + 5, "text-anchor": "end" }, tick);
    }
    line(svg, "baseline", left, top + height + 1, left + width, top + height + 1);
    const every = [1, 2, 3, 4, 5, 6, 8, 10].find((step) => step * pitch >= 24) ?? 20;
    const label = (block, y) => ({ x: left + pitch * (block + 0.5), y, "text-anchor": "middle" });
    for (let block = 0; block < blocks; block += every) {
      add(svg, "text", { class: "tick", ...label(block, top + height + 20) }, block + 1);
    }
    const middle = { class: "axis-title", x: left + width / 2, y: top + height + 39, "text-anchor": "middle" };
    add(svg, "text", middle, "Block");
    sideTitle(svg, 16, top + height / 2, title);
    const column = (block) => ({ x: left + pitch * block + gap / 2, width: pitch - gap });
    const counts = [...Array(room ? blocks : 0).keys()].map((block) => add(svg, "text", label(block, top - 7)));
    return { blocks, top, height, column, counts };
  }

  drawNeurons() {
    const svg = this.hook("live-neurons");
    const { hidden } = this.data;
    const axes = this.blockAxes(svg, "Neurons", hidden, [0, Math.round(hidden / 2), hidden]);
    const { blocks, top, height, column } = axes;
    this.neurons = { ...axes, svg, bars: [] };
    for (let block = 0; block < blocks; block++) {
      const shape = { ...column(block), y: top, height, rx: 2 };
      add(svg, "rect", { class: "slot", ...shape, fill: "url(#live-neurons)" });
      this.neurons.bars.push(add(svg, "rect", { class: "kept", ...shape }));
    }
  }

  drawHeads() {
    const svg = this.hook("live-heads");
    const { numHeads } = this.data;
    const ticks = numHeads % 2 || numHeads < 4 ? [0, numHeads] : [0, numHeads / 2, numHeads];
    const axes = this.blockAxes(svg, "Heads", numHeads, ticks);
    const { blocks, top, height, column } = axes;
    const pitch = height / numHeads;
    const gap = Math.min(4, 0.25 * pitch);
    this.heads = { ...axes, svg, cells: [] };
    for (let block = 0; block < blocks; block++) {
      const cells = [...Array(numHeads).keys()].map((head) => {
        const y = top + height - pitch * (head + 1) + gap / 2;
        return add(svg, "rect", { ...column(block), y, height: pitch - gap, rx: Math.min(3, pitch / 4) });
      });
      this.heads.cells.push(cells);
    }
  }
}
