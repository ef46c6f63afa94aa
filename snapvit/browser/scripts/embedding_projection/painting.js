// Painting the points.

import { eased, framed } from "./geometry.js";
import { REACHED } from "./points.js";

export const CHOSEN_LARGER = 1.25;

export class Painter {
  resized() {
    const width = this.part("stage").clientWidth;
    if (!width || !this.points) return;
    const height = Math.round(Math.min(Math.max(0.6 * width, 360), 640));
    const sharp = Math.max(1, window.devicePixelRatio || 1);
    Object.assign(this, { width, height });
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * sharp);
    this.canvas.height = Math.round(height * sharp);
    this.paint();
  }

  get share() {
    return this.way.value / 100;
  }

  place() {
    const { fullX, fullY, cutX, cutY } = this.points;
    const { scale, x, y } = framed(this.box, this.width, this.height, this.zoom);
    const way = eased(this.share);
    for (let i = 0; i < fullX.length; i++) {
      this.x[i] = x + scale * (fullX[i] + way * (cutX[i] - fullX[i]));
      this.y[i] = y - scale * (fullY[i] + way * (cutY[i] - fullY[i]));
    }
    this.canvas.dataset.frame = JSON.stringify({ scale, x, y, way });
    return { scale, x, y, way };
  }

  // Of a point's mark, in px.
  radius(i) {
    const narrow = this.width < 600 ? 0.85 : 1;
    const crowded = Math.min(Math.max(190 / Math.sqrt(this.points.ids.length + 1), 2.1), 5);
    const group = this.data.groups[this.points.group[i]];
    return narrow * crowded * Math.min(this.zoom.scale ** 0.4, 2.5) * (this.points.shown[i] ? group.size : 0.8);
  }

  // Of all points; those that are chosen are painted once more, whole.
  get opacity() {
    return this.chosen.size ? 0.35 : 0.9;
  }

  // ---- painting

  paintSoon() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.paint();
    });
  }

  paint() {
    if (!this.width) return;
    const pen = this.canvas.getContext("2d");
    const sharp = this.canvas.width / this.width;
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    this.draw(pen);
    if (this.corners.length > 1) {
      pen.beginPath();
      this.corners.forEach(([x, y]) => pen.lineTo(x, y));
      pen.closePath();
      pen.fillStyle = this.dark ? "rgb(255 255 255 / 12%)" : "rgb(0 0 0 / 7%)";
      pen.fill();
      pen.setLineDash([5, 4]);
      pen.strokeStyle = this.ink;
      pen.lineWidth = 1.5;
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  draw(pen) {
    const frame = this.place();
    const { group, shown, ids } = this.points;
    const stamp = (i, grow = 1) => {
      const mark = shown[i] ? this.sprites[group[i]] : this.faded;
      const wide = (grow * this.radius(i)) / REACHED;
      pen.drawImage(mark, this.x[i] - wide / 2, this.y[i] - wide / 2, wide, wide);
    };
    pen.globalAlpha = this.opacity;
    for (const i of this.order) stamp(i);
    pen.globalAlpha = 1;
    for (const i of this.order) if (this.chosen.has(ids[i])) stamp(i, CHOSEN_LARGER);
    this.axes(pen);
    this.names(pen, frame);
    const row = this.rowOf.get(this.data.image);
    if (row !== undefined) this.follow(pen, row, frame);
    if (this.hovered >= 0) this.ring(pen, this.x[this.hovered], this.y[this.hovered], 1.5);
  }

  axes(pen) {
    pen.font = `13px ${getComputedStyle(this.root).fontFamily}`;
    pen.fillStyle = this.ink;
    pen.globalAlpha = 0.75;
    pen.textAlign = "right";
    pen.fillText("UMAP 1 (no unit)", this.width - 10, this.height - 10);
    pen.save();
    pen.translate(17, 10);
    pen.rotate(-Math.PI / 2);
    pen.fillText("UMAP 2 (no unit)", 0, 0);
    pen.restore();
    pen.globalAlpha = 1;
  }

  // Names of classes where they are densest; one that would cover another is left out.
  names(pen, frame) {
    pen.textAlign = "center";
    pen.lineJoin = "round";
    for (const { text, left, top } of this.namePlaces(pen, frame)) {
      pen.strokeStyle = this.paper;
      pen.lineWidth = 5;
      pen.strokeText(text, left, top);
      pen.fillStyle = this.ink;
      pen.fillText(text, left, top);
    }
  }

  namePlaces(pen, { scale, x, y, way }) {
    pen.font = this.nameFont;
    const taken = [];
    for (const { text, full, cut } of this.data.names) {
      const at = [0, 1].map((axis) => full[axis] + way * (cut[axis] - full[axis]));
      const [left, top] = [x + scale * at[0], y - scale * at[1]];
      const wide = pen.measureText(text).width / 2 + 4;
      if (taken.some((other) => Math.abs(other.left - left) < wide + other.wide && Math.abs(other.top - top) < 18)) continue;
      taken.push({ text, left, top, wide });
    }
    return taken.map((name) => ({ ...name, top: name.top + 5 }));
  }

  get nameFont() {
    return `600 ${this.width < 600 ? 12 : 14}px ${getComputedStyle(this.root).fontFamily}`;
  }

  // The selected image: its way and where it is.
  follow(pen, row, { scale, x, y }) {
    const { fullX, fullY, cutX, cutY } = this.points;
    pen.beginPath();
    pen.moveTo(x + scale * fullX[row], y - scale * fullY[row]);
    pen.lineTo(x + scale * cutX[row], y - scale * cutY[row]);
    pen.strokeStyle = this.ink;
    pen.lineWidth = 1.5;
    pen.setLineDash([2, 4]);
    pen.stroke();
    pen.setLineDash([]);
    this.ring(pen, this.x[row], this.y[row], 3);
  }

  ring(pen, x, y, width) {
    for (const [colour, line] of [[this.paper, width + 3], [this.ink, width]]) {
      pen.beginPath();
      pen.arc(x, y, 9, 0, 2 * Math.PI);
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.stroke();
    }
  }
}
