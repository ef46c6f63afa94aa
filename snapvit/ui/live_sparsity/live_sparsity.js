// Draws everything and follows the thumb, with the helpers of drawing.js, which Python puts in front of this file.
// Python sends the numbers and is told the sparsity when the thumb is let go.

const THUMB = 26; // px, as in the style sheet: a native thumb's centre travels this much less than the input's width
const KEY_PAUSE = 200; // ms without a key press that count as letting go, so that a held arrow key is one release
const views = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".live");
  let view = views.get(root);
  if (!view) {
    view = new LiveSparsity(root);
    views.set(root, view);
  }
  view.receive(data, (sparsity) => setStateValue("released", { sparsity, time: Date.now() }));
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => root.isConnected || view.stop();
}

class LiveSparsity {
  constructor(root) {
    this.root = root;
    this.thumb = this.hook("live-thumb");
    this.curve = this.hook("live-curve");
    this.turn = null; // the last time Python moved the thumb
    this.held = false; // a pointer is down on the thumb
    this.asked = null; // where Python wanted the thumb while it was held
    this.pause = 0; // timer of a key press not yet sent
    this.thumb.addEventListener("input", () => this.follow());
    this.thumb.addEventListener("change", () => this.changed());
    this.thumb.addEventListener("pointerdown", () => (this.held = true));
    for (const end of ["pointerup", "pointercancel", "blur"]) {
      // `change` comes after `pointerup`: only then is it known whether the thumb was moved at all.
      this.thumb.addEventListener(end, () => setTimeout(() => this.letGo(), 0));
    }
    this.observer = new ResizeObserver(() => this.resized());
  }

  hook(name) {
    return this.root.querySelector(`[data-testid="${name}"]`);
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  // ---- what Python says

  receive(data, send) {
    const first = this.turn === null;
    const where = this.sparsity;
    const rescaled = first || data.steps.sparsity.length !== this.data.steps.sparsity.length
      || data.steps.sparsity.at(-1) !== this.data.steps.sparsity.at(-1);
    Object.assign(this, { data, send, lead: data.accuracyMissing ? COSINE : ACCURACY });
    this.root.dataset.theme = isDark(this.root) ? "dark" : "light";
    this.root.classList.toggle("without-accuracy", Boolean(data.accuracyMissing));
    if (rescaled) this.scale(first ? data.value : where);
    if (!first && data.turn !== this.turn) {
      if (this.held || this.pause) this.asked = data.value;
      else this.moveTo(data.value);
    }
    this.turn = data.turn;
    this.draw();
    this.observer.observe(this.root);
  }

  scale(value) {
    const { sparsity } = this.data.steps;
    this.unit = (100 * sparsity.at(-1)) / (sparsity.length - 1); // percent from step to step
    // Rounded down: a step too long by a rounding error would put the last position out of reach.
    const step = Math.floor(this.unit * 1e9) / 1e9;
    Object.assign(this.thumb, { min: 0, max: 100 * sparsity.at(-1), step });
    this.moveTo(value);
  }

  moveTo(sparsity) {
    this.thumb.value = 100 * sparsity;
  }

  get index() {
    return Math.round(this.thumb.value / this.unit);
  }

  get sparsity() {
    return this.data?.steps.sparsity[this.index];
  }

  // ---- what the person does

  changed() {
    if (this.held) this.release();
    else {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.release(), KEY_PAUSE);
    }
  }

  release() {
    clearTimeout(this.pause);
    this.pause = 0;
    this.asked = null; // the person's choice is newer
    this.send(this.sparsity);
  }

  letGo() {
    this.held = false;
    if (this.asked === null || this.pause) return;
    this.moveTo(this.asked);
    this.asked = null;
    this.follow();
  }

  stop() {
    clearTimeout(this.pause);
    this.observer.disconnect();
  }

  // ---- the still parts, drawn anew when the data or the width changes

  resized() {
    if (this.width !== this.root.clientWidth) this.draw();
  }

  draw() {
    this.width = this.root.clientWidth;
    if (!this.width) return;
    this.drawCurve();
    this.drawNeurons();
    this.drawHeads();
    this.follow();
  }

  drawCurve() {
    const { curve: svg, data, thumb, lead } = this;
    const { points } = data;
    const [left, right, top, height] = [62, 14, 22, 266];
    const width = svg.clientWidth - left - right;
    const bottom = top + height;
    const last = data.steps.sparsity.at(-1);
    const x = (share) => left + (width * share) / last;
    const y = (share) => bottom - height * Math.max(0, share); // a cosine may be negative
    this.plot = { x, y, left, width, top, bottom };
    svg.replaceChildren();
    hatch(svg, "unknown");

    for (const tick of [0, 20, 40, 60, 80, 100]) {
      line(svg, tick ? "grid" : "baseline", left, y(tick / 100), left + width, y(tick / 100));
      add(svg, "text", { class: "tick", x: left - 10, y: y(tick / 100) + 5, "text-anchor": "end" }, lead.tick(tick));
    }
    for (let tick = 0; tick <= 100 * last + 1e-6; tick += width < 420 ? 20 : 10) {
      add(svg, "text", { class: "tick", x: x(tick / 100), y: bottom + 56, "text-anchor": "middle" }, tick);
    }
    add(svg, "text", { class: "axis-title", x: left + width / 2, y: bottom + 82, "text-anchor": "middle" }, "Sparsity (%)");
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
        const back = points.map((point) => `${x(point.sparsity)},${y(point.low)}`).reverse();
        add(svg, "polygon", { class: "interval", points: [...there, ...back].join(" ") });
      }
      add(svg, "polyline", { class: "path", points: points.map((p) => `${x(p.sparsity)},${y(lead.of(p))}`).join(" ") });
      const radius = width / points.length > 14 ? 4 : 3;
      for (const point of points) {
        add(svg, "circle", { class: "point", cx: x(point.sparsity), cy: y(lead.of(point)), r: radius });
      }
    }
    if (data.chance !== null) {
      line(svg, "chance", left, y(data.chance), left + width, y(data.chance));
      add(svg, "text", { class: "aside", x: left + 8, y: y(data.chance) - 8 }, `chance ${percent(data.chance)}`);
    }

    this.marker = add(svg, "circle", { class: "marker", r: 8 });
    this.callout = add(svg, "text", { class: "callout" });
    thumb.style.left = `${left - THUMB / 2}px`;
    thumb.style.width = `${width + THUMB}px`;
    thumb.style.top = `${bottom + 6}px`;
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
    const left = 62;
    const width = svg.clientWidth - left - 4;
    const pitch = width / blocks;
    // A count wider than its column would run into its neighbour's.
    const room = pitch >= 7.3 * String(full).length + 3;
    const top = room ? 24 : 10;
    const height = svg.clientHeight - top - 48;
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
    const middle = { class: "axis-title", x: left + width / 2, y: top + height + 43, "text-anchor": "middle" };
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

  // ---- the moving parts

  follow() {
    if (!this.plot) return;
    const { steps } = this.data;
    const at = this.index;
    const sparsity = steps.sparsity[at];
    const seen = this.measured(sparsity);
    this.hook("live-sparsity").textContent = percent(sparsity);
    const words = `MLP neurons removed ${percent(steps.mlp[at])}, heads removed ${percent(steps.heads[at])}`;
    this.hook("live-words").textContent = words;
    this.tell("live-params", scaled(steps.params[at]));
    this.share("params", steps.params[at] / steps.params[0], scaled(steps.params[0]).join(" ").trim());
    const [macs, unit] = scaled(steps.macs[at]);
    this.tell("live-macs", [macs, `${unit}MACs`]);
    this.share("macs", steps.macs[at] / steps.macs[0], scaled(steps.macs[0]).join(" ").trim());
    const told = seen.kind === "unmeasured" ? "not measured yet" : `${this.lead.name} ${this.lead.text(this.lead.of(seen))} ${seen.kind}`;
    this.thumb.setAttribute("aria-valuetext", `${percent(sparsity)}, ${told}`);
    this.followMeasured(seen);
    this.followCurve(sparsity, seen);
    this.followBlocks(at);
    this.thumb.style.setProperty("--travel", `${(100 * sparsity) / steps.sparsity.at(-1)}%`);
  }

  // What is known at a sparsity: measured there, a straight line between neighbours, or nothing.
  measured(sparsity) {
    const { points } = this.data;
    const same = points.find((point) => Math.abs(point.sparsity - sparsity) < 2e-6);
    if (same) return { ...same, kind: "measured" };
    const after = points.findIndex((point) => point.sparsity > sparsity);
    if (after < 1) return { kind: "unmeasured" };
    const [left, right] = [points[after - 1], points[after]];
    const part = (sparsity - left.sparsity) / (right.sparsity - left.sparsity);
    const between = Object.keys(left).map((name) => [name, left[name] + part * (right[name] - left[name])]);
    return { ...Object.fromEntries(between), kind: "interpolated", left, right };
  }

  tell(name, [number, unit]) {
    const node = this.hook(name);
    node.classList.remove("absent");
    node.textContent = number;
    if (!unit) return;
    const small = document.createElement("small");
    small.textContent = ` ${unit}`;
    node.append(small);
  }

  share(name, share, full) {
    this.meter(name, share ?? 0);
    this.part(`${name}-share`).textContent = share === null ? "" : `${percent(share)} of ${full}`;
  }

  meter(name, share) {
    this.part(`${name}-meter`).style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
  }

  kind(node, kind, text) {
    node.className = `kind ${kind}`;
    node.textContent = text;
  }

  followMeasured(seen) {
    const { points, k, queries, accuracyMissing } = this.data;
    const full = points.length && points[0].sparsity < 1e-6 ? points[0] : null;
    const known = seen.kind !== "unmeasured";
    const word = known ? seen.kind : "not measured yet";
    for (const name of ["live-top1", "live-cosine", "live-latency"]) {
      this.tell(name, ["–", ""]);
      this.hook(name).classList.toggle("absent", !known);
    }
    let interval = points.length ? "" : "being measured…";
    if (known) interval = `95 % interval ${(100 * seen.low).toFixed(1)} – ${percentFixed(seen.high)}`;
    this.hook("live-interval").textContent = accuracyMissing ? `${accuracyMissing}; the curve shows the cosine.` : interval;
    let drop = "";
    if (known && full && !accuracyMissing) {
      const gain = Number((100 * (seen.top1 - full.top1)).toFixed(1));
      const side = gain < 0 ? "below" : "above";
      drop = gain ? `${Math.abs(gain).toFixed(1)} points ${side} the full model` : "as good as the full model";
      if (seen.sparsity < 1e-6) drop = "this is the full model";
    }
    this.part("drop").textContent = drop;
    let how = "";
    if (seen.kind === "measured") how = ` · k = ${k}, ${grouped(queries)} queries`;
    if (seen.kind === "interpolated") how = ` · ${trimmed(100 * seen.left.sparsity, 1)} to ${percent(seen.right.sparsity)}`;
    this.kind(this.hook("live-kind"), seen.kind, accuracyMissing ? "" : word + how);
    this.kind(this.part("cosine-kind"), seen.kind, word);
    this.kind(this.part("latency-kind"), seen.kind, word);
    this.share("latency", known && full ? seen.latency / full.latency : null, full && `${milliseconds(full.latency)} ms`);
    this.meter("cosine", known ? seen.cosine : 0);
    if (!known) return;
    this.tell("live-top1", [accuracyMissing ? "–" : percentFixed(seen.top1), ""]);
    this.tell("live-cosine", [seen.cosine.toFixed(3), ""]);
    this.tell("live-latency", [milliseconds(seen.latency), "ms"]);
  }

  followCurve(sparsity, seen) {
    const { x, y, left, top } = this.plot;
    const at = x(sparsity);
    const known = seen.kind !== "unmeasured";
    const [height, told] = known ? [y(this.lead.of(seen)), this.lead.text(this.lead.of(seen))] : [top, ""];
    set(this.guide, { x1: at, x2: at, y1: height, class: known ? "guide" : "guide unmeasured" });
    this.marker.style.display = known ? "" : "none";
    const side = at > left + 90 ? -1 : 1; // below and left of a falling curve there is room
    if (known) {
      set(this.marker, { cx: at, cy: height, class: `marker ${seen.kind}` });
      const anchor = side < 0 ? "end" : "start";
      set(this.callout, { x: at + 14 * side, y: height + 26, "text-anchor": anchor });
    }
    this.callout.textContent = told;
    this.curve.setAttribute("aria-label", `${this.lead.title} over sparsity. At ${this.thumb.getAttribute("aria-valuetext")}`);
  }

  followBlocks(at) {
    const neurons = this.data.steps.neurons[at];
    const heads = this.data.steps.headCounts[at];
    const { top, height, bars } = this.neurons;
    neurons.forEach((count, block) => {
      const tall = (height * count) / this.data.hidden;
      set(bars[block], { y: top + height - tall, height: tall });
    });
    this.heads.cells.forEach((cells, block) => cells.forEach((cell, head) => {
      const cut = head >= heads[block];
      set(cell, { class: cut ? "cell cut" : "cell", fill: cut ? "url(#live-heads)" : "" });
    }));
    this.count(this.neurons, neurons, this.data.hidden, "neurons");
    this.count(this.heads, heads, this.data.numHeads, "heads");
  }

  count(chart, kept, full, name) {
    chart.counts.forEach((text, block) => (text.textContent = kept[block]));
    const total = kept.reduce((sum, count) => sum + count, 0);
    this.part(`${name}-total`).textContent = `${grouped(total)} of ${grouped(full * kept.length)}`;
    chart.svg.setAttribute("aria-label", `Kept ${name} by block, of ${full} each: ${kept.join(", ")}`);
  }
}
