// Moves the points from the full model to the cut, and tells Python which were clicked or lassoed.

import { grouped } from "../formats.js";
import { joined, leave } from "../joining.js";
import { rove } from "../roving.js";
import { isDark } from "../theme.js";
import { boxOf, inside, nearest, zoomed } from "./geometry.js";
import { decoded, FADED, SPRITE, sprite } from "./points.js";
import { Saver } from "./saving.js";

const SECONDS = 2.5; // of the way from full to cut
const REACH = 12; // px from the pointer within which a point counts as meant
const views = new WeakMap();

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".projection");
  let view = views.get(root);
  if (!view) {
    view = new EmbeddingProjection(root);
    views.set(root, view);
  }
  const send = (name, value) => setStateValue(name, { value, time: Date.now() });
  joined(root, data.key, ["cut", "colours", "look"], data, (whole) => view.receive(whole, send));
  // Streamlit also calls this for a render that a newer one overtook, while the component is still on the page.
  return () => root.isConnected || view.stop();
}

class EmbeddingProjection extends Saver {
  constructor(root) {
    super();
    this.root = root;
    this.canvas = this.hook("projection-canvas");
    this.way = this.hook("projection-way");
    this.tip = this.hook("projection-tip");
    this.zoom = { scale: 1, x: 0, y: 0 }; // x, y: px that the middle was moved by
    this.corners = []; // of the lasso being drawn
    this.drag = null;
    this.playing = 0;
    this.way.addEventListener("input", () => this.pause() || this.paintSoon());
    this.part("play").onclick = () => (this.playing ? this.pause() : this.play());
    this.part("lasso").onclick = () => this.take("lasso");
    this.part("move").onclick = () => this.take("move");
    this.part("nearer").onclick = () => this.zoomBy(1.5);
    this.part("farther").onclick = () => this.zoomBy(1 / 1.5);
    this.part("whole").onclick = () => this.reset();
    this.part("png").onclick = () => this.savePng();
    this.part("svg").onclick = () => this.saveSvg();
    this.part("clear").onclick = () => this.choose([]);
    this.canvas.addEventListener("pointerdown", (event) => this.down(event));
    this.canvas.addEventListener("pointermove", (event) => this.moved(event));
    this.canvas.addEventListener("pointerup", (event) => this.up(event));
    this.canvas.addEventListener("pointercancel", () => this.drop());
    this.canvas.addEventListener("pointerleave", () => this.drag || this.point(-1));
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => this.resized());
    rove([this.part("play"), ...this.root.querySelectorAll(".tools button")]);
    this.take("lasso");
  }

  hook(name) {
    return this.root.querySelector(`[data-testid="${name}"]`);
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  // ---- what Python says

  receive(data, send) {
    const old = this.data;
    Object.assign(this, { data, send });
    // Equal strings mean equal points; the packed arrays change only with the cut, the colours or the filter.
    if (!old || packed(old) !== packed(data)) this.unpack(data);
    this.chosen = new Set(data.chosen);
    this.ink = getComputedStyle(this.root).getPropertyValue("--ink") || "#31333f";
    this.paper = getComputedStyle(this.root).getPropertyValue("--st-background-color").trim() || "#fff";
    this.dark = isDark(this.root);
    this.sprites = data.groups.map((group) => sprite(group.shape, this.dark ? group.dark : group.light, group.shape === "circle" ? null : this.paper));
    this.faded = sprite("circle", this.dark ? FADED.dark : FADED.light, null);
    this.part("title").textContent = data.title;
    this.part("cut").textContent = data.cut;
    this.canvas.setAttribute("aria-label", data.alt);
    this.legend();
    this.status();
    this.observer.observe(this.part("stage"));
    this.resized();
  }

  unpack(data) {
    const points = decoded(data);
    const count = points.ids.length;
    const layer = (i) => (points.shown[i] ? 1 + data.groups[points.group[i]].layer : 0);
    this.order = Uint32Array.from([...Array(count).keys()].toSorted((a, b) => layer(a) - layer(b)));
    this.box = boxOf([points.fullX, points.cutX], [points.fullY, points.cutY]);
    Object.assign(this, { points, x: new Float32Array(count), y: new Float32Array(count) });
    this.rowOf = new Map(Array.from(points.ids, (id, row) => [id, row]));
    this.hovered = -1;
  }

  legend() {
    const items = this.data.legend.map((index) => {
      const group = this.data.groups[index];
      const made = document.createElement("button");
      made.type = "button";
      const mark = document.createElement("canvas");
      mark.width = mark.height = SPRITE;
      mark.getContext("2d").drawImage(this.sprites[index], 0, 0);
      made.append(mark, `${group.name} (${grouped(group.count)})`);
      made.setAttribute("aria-pressed", String(this.data.only === group.name));
      made.title = this.data.only === group.name ? "Show all again" : "Show these alone";
      made.onclick = () => this.send("isolated", this.data.only === group.name ? null : group.name);
      const item = document.createElement("li");
      item.append(made);
      return item;
    });
    this.part("legend").replaceChildren(...items);
    rove(items.map((item) => item.firstChild));
  }

  status() {
    const count = this.chosen.size;
    const chosen = `${grouped(count)} image${count === 1 ? "" : "s"} chosen; ${this.data.below}`;
    this.hook("projection-status").textContent = count ? chosen : this.data.hint;
    this.part("clear").hidden = !count;
  }

  // ---- what the person does

  play() {
    const from = this.share >= 1 ? 0 : this.share;
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.way.value = from > 0 ? 0 : 100;
      return this.paint();
    }
    const began = performance.now() - from * SECONDS * 1000;
    const step = (now) => {
      this.way.value = Math.min(100, Math.max(0, (now - began) / (SECONDS * 10)));
      this.paint();
      if (this.share < 1) this.playing = requestAnimationFrame(step);
      else this.pause();
    };
    this.playing = requestAnimationFrame(step);
    this.part("play").textContent = "❚❚ Pause";
  }

  pause() {
    cancelAnimationFrame(this.playing);
    this.playing = 0;
    this.part("play").textContent = "▶ Play";
  }

  take(tool) {
    this.tool = tool;
    for (const name of ["lasso", "move"]) this.part(name).setAttribute("aria-pressed", String(name === tool));
    this.canvas.classList.toggle("moving", tool === "move");
  }

  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    this.zoom = zoomed(this.zoom, factor, x, y, this.width, this.height);
    this.paintSoon();
  }

  reset() {
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.paintSoon();
  }

  wheel(event) {
    if (!event.ctrlKey && !event.metaKey) return; // an ordinary turn scrolls the page
    event.preventDefault();
    this.zoomBy(Math.exp(-0.01 * event.deltaY), event.offsetX, event.offsetY);
  }

  key(event) {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (step) this.zoom = { scale: this.zoom.scale, x: this.zoom.x + step[0], y: this.zoom.y + step[1] };
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.reset();
    else return;
    event.preventDefault();
    this.paintSoon();
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.drag = { x: event.offsetX, y: event.offsetY, zoom: this.zoom };
    this.corners = this.tool === "lasso" ? [[event.offsetX, event.offsetY]] : [];
  }

  moved(event) {
    const { offsetX: x, offsetY: y } = event;
    if (!this.drag) this.point(this.nearest(x, y));
    else if (this.tool === "lasso") this.corners.push([x, y]);
    else {
      const { zoom } = this.drag;
      this.zoom = { scale: zoom.scale, x: zoom.x + x - this.drag.x, y: zoom.y + y - this.drag.y };
    }
    if (this.drag) this.paintSoon();
  }

  up(event) {
    if (!this.drag) return;
    const far = Math.hypot(event.offsetX - this.drag.x, event.offsetY - this.drag.y);
    const { corners } = this;
    const drawn = corners.length > 2 && Math.max(...corners.map(([x, y]) => Math.hypot(x - this.drag.x, y - this.drag.y)));
    this.drop();
    if (drawn > 6) {
      const { ids, shown } = this.points;
      this.choose(Array.from(ids.filter((_, i) => shown[i] && inside(corners, this.x[i], this.y[i]))));
    } else if (far < 6) {
      const row = this.nearest(event.offsetX, event.offsetY);
      if (row >= 0) this.send("picked", this.points.ids[row]);
    }
  }

  drop() {
    this.drag = null;
    this.corners = [];
    this.paintSoon();
  }

  choose(ids) {
    this.chosen = new Set(ids); // shown at once, before Python's answer
    this.status();
    this.paintSoon();
    this.send("chosen", ids);
  }

  nearest(x, y) {
    return nearest(this.x, this.y, this.points.shown, x, y, REACH);
  }

  point(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.tip.hidden = row < 0;
    if (row >= 0) {
      this.tip.textContent = this.words(row);
      const left = Math.min(this.x[row] + 16, this.width - this.tip.offsetWidth - 6);
      const top = this.y[row] + 18 + this.tip.offsetHeight > this.height ? this.y[row] - 18 - this.tip.offsetHeight : this.y[row] + 18;
      Object.assign(this.tip.style, { left: `${Math.max(left, 4)}px`, top: `${top}px` });
    }
    this.paintSoon();
  }

  words(row) {
    const { ids, labels, before, after } = this.points;
    const { classes, queriesFrom } = this.data;
    const part = row >= queriesFrom ? "query" : "gallery";
    const lines = [`Image ${ids[row]} (${part})`];
    if (labels[row] >= 0) lines.push(classes[labels[row]]);
    const query = row - queriesFrom;
    if (before[query] >= 0) lines.push(`named by full: ${classes[before[query]]}`, `named by cut: ${classes[after[query]]}`);
    return lines.join("\n");
  }

  stop() {
    leave(this.root);
    this.pause();
    cancelAnimationFrame(this.waiting);
    this.observer.disconnect();
  }
}

function packed({ ofFull, ofCut, group, shown }) {
  return JSON.stringify([ofFull, ofCut, group, shown]);
}
