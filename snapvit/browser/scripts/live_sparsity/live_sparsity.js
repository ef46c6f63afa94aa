// Follows the thumb, in the charts of charts.js. Python sends the numbers and is told the sparsity when it is let go.

import { amount, decimal, grouped, milliseconds, percent, ratio } from "../formats.js";
import { joined, leave } from "../joining.js";
import { set } from "../svg.js";
import { Charts } from "./charts.js";
import { ACCURACY, COSINE } from "./drawing.js";
import { heightAt, measured } from "./reading.js";
import { savePicture } from "./saving.js";

const KEY_PAUSE = 200; // ms without a key press that count as letting go, so that a held arrow key is one release
const views = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".live");
  joined(root, data.key, ["thumb"], data, (whole) => showLive(root, whole, setStateValue));
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => {
    if (root.isConnected) return;
    leave(root);
    hideLive(root);
  };
}

// Draws all of `data` in this root, for the first time or anew. tell("released", {sparsity ...}) and
// tell("zoomed", boolean) is what the person does.
export function showLive(root, data, tell) {
  const view = views.get(root) ?? new LiveSparsity(root);
  views.set(root, view);
  const send = (sparsity) => tell("released", { sparsity, was: view.data.value, time: Date.now() });
  view.sendZoomed = (zoomed) => tell("zoomed", zoomed);
  view.receive(data, send);
}

export function hideLive(root) {
  views.get(root)?.stop();
}

class LiveSparsity extends Charts {
  constructor(root) {
    super();
    this.root = root;
    this.thumb = this.hook("live-thumb");
    this.curve = this.hook("live-curve");
    this.turn = null; // the last time Python moved the thumb
    this.held = false; // a pointer is down on the thumb
    this.asked = null; // where Python wanted the thumb while it was held
    this.pause = 0; // timer of a key press not yet sent
    this.zoom = this.hook("live-zoom");
    this.zoom.addEventListener("change", () => this.draw() || this.sendZoomed(this.zoom.checked));
    this.thumb.addEventListener("input", () => this.follow());
    this.thumb.addEventListener("change", () => this.changed());
    this.thumb.addEventListener("pointerdown", () => (this.held = true));
    for (const end of ["pointerup", "pointercancel", "blur"]) {
      // `change` comes after `pointerup`: only then is it known whether the thumb was moved at all.
      this.thumb.addEventListener(end, () => setTimeout(() => this.letGo(), 0));
    }
    for (const button of this.root.querySelectorAll(".take button")) {
      const { save } = button.parentElement.dataset;
      button.onclick = () => this.save(save, button.dataset.kind);
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
    this.root.classList.toggle("without-accuracy", Boolean(data.accuracyMissing));
    if (rescaled) this.scale(first ? data.value : where);
    if (!first && data.turn !== this.turn) {
      if (this.held || this.pause) this.asked = data.value;
      else this.moveTo(data.value);
    }
    this.turn = data.turn;
    // As with the thumb, what Python said before is no news: its answer to the switch is still on its way.
    if (data.zoomed !== this.saidZoomed) this.zoom.checked = data.zoomed;
    this.saidZoomed = data.zoomed;
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

  save(what, kind) {
    const at = `at ${ratio(this.sparsity)} sparsity`;
    const cut = this.hook("live-words").textContent;
    const blocks = ["neurons", "heads"].map((name) => ({
      svg: this.hook(`live-${name}`),
      heading: `Kept ${name} ${at}: ${this.part(`${name}-total`).textContent}`,
      notes: [cut, "Green is kept, hatched is cut."],
    }));
    const band = this.lead === ACCURACY ? ", the band is their 95 % interval" : "";
    const notes = [cut, `Dots are measured, the line is interpolated${band}.`];
    const curve = { svg: this.curve, heading: `${this.lead.heading} ${at}`, notes };
    savePicture(what === "curve" ? [curve] : blocks, this.root, `${this.data.file}-${what}`, kind);
  }

  stop() {
    clearTimeout(this.pause);
    this.observer.disconnect();
  }

  // ---- the moving parts

  follow() {
    if (!this.plot) return;
    const { steps } = this.data;
    const at = this.index;
    const sparsity = steps.sparsity[at];
    const seen = measured(this.data.points, sparsity);
    this.hook("live-sparsity").textContent = ratio(sparsity);
    const words = `MLP neurons removed ${ratio(steps.mlp[at])}, heads removed ${ratio(steps.heads[at])}`;
    this.hook("live-words").textContent = words;
    for (const name of ["params", "macs"]) {
      const [all, left] = [steps[name][0], steps[name][at]];
      this.tell(`live-${name}`, amount(left));
      this.share(name, left / all, amount(all));
    }
    const told = seen.kind === "unmeasured" ? "not measured yet" : `${this.lead.name} ${this.lead.text(this.lead.of(seen))} ${seen.kind}`;
    this.thumb.setAttribute("aria-valuetext", `${ratio(sparsity)}, ${told}`);
    this.followMeasured(seen);
    this.followCurve(sparsity, seen);
    this.followBlocks(at);
    this.thumb.style.setProperty("--travel", `${(100 * sparsity) / steps.sparsity.at(-1)}%`);
  }

  // The cut's weights the other way: corrected, or as they were cut.
  get otherName() {
    return this.data.corrected ? "as cut" : "weights corrected";
  }

  // The unit after the number is smaller.
  tell(name, written) {
    const node = this.hook(name);
    const [number, unit] = written.split(" ");
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
    const beside = known ? heightAt(this.data.other, seen.sparsity) : null;
    this.part("other").textContent = beside === null ? this.otherName : `${this.otherName}: ${this.lead.text(beside)}`;
    for (const name of ["live-top1", "live-cosine", "live-latency"]) {
      this.tell(name, "–");
      this.hook(name).classList.toggle("absent", !known);
    }
    let interval = points.length ? "" : "being measured…";
    if (known) interval = `95 % interval ${decimal(100 * seen.low, 1)} – ${percent(seen.high)}`;
    this.hook("live-interval").textContent = accuracyMissing ? `${accuracyMissing}; the curve shows the cosine.` : interval;
    this.part("drop").textContent = known && !accuracyMissing ? this.besideFull(seen) : "";
    let how = "";
    if (seen.kind === "measured") how = ` · k = ${k}, ${grouped(queries)} queries`;
    if (seen.kind === "interpolated") how = ` · ${ratio(seen.left.sparsity)} to ${ratio(seen.right.sparsity)}`;
    this.kind(this.hook("live-kind"), seen.kind, accuracyMissing ? "" : word + how);
    this.kind(this.part("cosine-kind"), seen.kind, word);
    this.followLatency(seen, full);
    this.meter("cosine", known ? seen.cosine : 0);
    if (!known) return;
    this.tell("live-top1", accuracyMissing ? "–" : percent(seen.top1));
    this.tell("live-cosine", decimal(seen.cosine, 3));
  }

  // Paired by query: the interval of the difference, not two intervals side by side.
  besideFull(seen) {
    if (seen.sparsity < 1e-6) return "this is the full model";
    if (seen.gain === null) return "";
    const [gain, low, high] = [seen.gain, seen.gainLow, seen.gainHigh].map((share) => decimal(100 * share, 1));
    const side = gain.startsWith("−") ? "below" : "above";
    const words = gain === "0.0" ? "no difference to the full model" : `${gain.replace("−", "")} points ${side} the full model`;
    return `${words} (paired, ${low} to ${high})`;
  }

  followLatency(seen, full) {
    const timed = seen.kind !== "unmeasured" && seen.latency !== null;
    const where = this.data.timedHere ? seen.kind : "another computer’s";
    this.kind(this.part("latency-kind"), timed ? seen.kind : "unmeasured", timed ? where : "not timed yet");
    this.share("latency", timed ? seen.latencyRatio : null, full && full.latency !== null && milliseconds(full.latency));
    this.hook("live-latency").classList.toggle("absent", !timed);
    if (timed) this.tell("live-latency", milliseconds(seen.latency));
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
