// The projection as a file: PNG, and SVG for print.

import { download, downloadSvg } from "../download.js";
import { CHOSEN_LARGER, Painter } from "./painting.js";
import { cornersOf, FADED } from "./points.js";

const ABOVE = 44; // px for the heading
const LEGEND_COLUMNS = 4;
const LEGEND_ROW = 24; // px

export class Saver extends Painter {
  get heading() {
    const where = this.share === 0 ? "full model" : this.share === 1 ? this.data.cut : `on the way to ${this.data.cut}`;
    return `${this.data.title}: ${where}`;
  }

  // px below the projection for the legend
  get below() {
    return 30 + LEGEND_ROW * Math.ceil(this.data.legend.length / LEGEND_COLUMNS);
  }

  legendPlaces() {
    return this.data.legend.map((index, i) => ({
      index,
      name: this.data.groups[index].name,
      left: 10 + ((i % LEGEND_COLUMNS) * this.width) / LEGEND_COLUMNS,
      top: this.height + 22 + LEGEND_ROW * Math.floor(i / LEGEND_COLUMNS),
    }));
  }

  savePng() {
    const canvas = document.createElement("canvas");
    canvas.width = 2 * this.width;
    canvas.height = 2 * (this.height + ABOVE + this.below);
    const pen = canvas.getContext("2d");
    pen.scale(2, 2);
    pen.fillStyle = this.paper;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.translate(0, ABOVE);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, this.width, this.height);
    pen.clip();
    this.draw(pen);
    pen.restore();
    const family = getComputedStyle(this.root).fontFamily;
    pen.fillStyle = this.ink;
    pen.textAlign = "left";
    pen.font = `600 17px ${family}`;
    pen.fillText(this.heading, 10, -16);
    pen.font = `14px ${family}`;
    for (const { index, name, left, top } of this.legendPlaces()) {
      pen.drawImage(this.sprites[index], left, top - 12, 16, 16);
      pen.fillText(name, left + 22, top);
    }
    download(canvas.toDataURL("image/png"), `${this.data.file}.png`);
  }

  saveSvg() {
    downloadSvg(this.svg(), `${this.data.file}.svg`);
  }

  svg() {
    const frame = this.place();
    const [width, height] = [this.width, this.height + ABOVE + this.below];
    const { shown, group, ids } = this.points;
    const look = (i) => (shown[i] ? this.data.groups[group[i]] : { shape: "circle", light: FADED.light, dark: FADED.dark });
    const mark = (i, grow = 1) => this.mark(look(i), this.x[i], this.y[i], grow * this.radius(i));
    const points = Array.from(this.order, (i) => mark(i));
    const chosen = Array.from(this.order).filter((i) => this.chosen.has(ids[i])).map((i) => mark(i, CHOSEN_LARGER));
    const names = this.namePlaces(this.canvas.getContext("2d"), frame).map(
      ({ text, left, top }) => `<text x="${rounded(left)}" y="${rounded(top)}">${plain(text)}</text>`,
    );
    const legend = this.legendPlaces().map(
      ({ index, name, left, top }) =>
        this.mark(this.data.groups[index], left + 8, top - 4, 6) + `<text x="${rounded(left + 22)}" y="${top}">${plain(name)}</text>`,
    );
    const size = this.width < 600 ? 12 : 14;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 ${-ABOVE} ${width} ${height}"
  font-family="sans-serif" fill="${this.ink}">
<title>${plain(this.heading)}</title>
<desc>${plain(this.data.alt)}</desc>
<clipPath id="projection"><rect width="${width}" height="${this.height}"/></clipPath>
<rect y="${-ABOVE}" width="${width}" height="${height}" fill="${this.paper}"/>
<text x="10" y="-16" font-size="17" font-weight="600">${plain(this.heading)}</text>
<g clip-path="url(#projection)">
<g id="points" fill-opacity="${this.opacity}" stroke-opacity="${this.opacity}">
${points.join("\n")}
</g>
<g id="chosen">${chosen.join("\n")}</g>
<g id="names" text-anchor="middle" font-size="${size}" font-weight="600" paint-order="stroke" stroke="${this.paper}" stroke-width="5"
  stroke-linejoin="round">${names.join("\n")}</g>
${this.selectedSvg(frame)}
<text x="${width - 10}" y="${this.height - 10}" font-size="13" text-anchor="end">UMAP 1 (no unit)</text>
<text transform="translate(17 10) rotate(-90)" font-size="13" text-anchor="end">UMAP 2 (no unit)</text>
</g>
<g id="legend" font-size="14">
${legend.join("\n")}
</g>
</svg>`;
  }

  mark(look, x, y, radius) {
    const edge = look.shape === "circle" ? "" : ` stroke="${this.paper}" stroke-width="${rounded(radius / 6)}"`;
    const paint = `fill="${this.dark ? look.dark : look.light}"${edge}`;
    if (look.shape === "circle") return `<circle cx="${rounded(x)}" cy="${rounded(y)}" r="${rounded(radius)}" ${paint}/>`;
    const corners = cornersOf(look.shape).map(([right, down]) => `${rounded(x + right * radius)},${rounded(y + down * radius)}`);
    return `<polygon points="${corners.join(" ")}" ${paint}/>`;
  }

  selectedSvg({ scale, x, y }) {
    const row = this.rowOf.get(this.data.image);
    if (row === undefined) return "";
    const { fullX, fullY, cutX, cutY } = this.points;
    const ends = `x1="${rounded(x + scale * fullX[row])}" y1="${rounded(y - scale * fullY[row])}" x2="${rounded(x + scale * cutX[row])}" y2="${rounded(y - scale * cutY[row])}"`;
    const ring = `cx="${rounded(this.x[row])}" cy="${rounded(this.y[row])}" r="9" fill="none"`;
    return `<g id="selected"><line ${ends} stroke="${this.ink}" stroke-width="1.5" stroke-dasharray="2 4"/>
<circle ${ring} stroke="${this.paper}" stroke-width="6"/><circle ${ring} stroke="${this.ink}" stroke-width="3"/></g>`;
  }
}

function rounded(number) {
  return +number.toFixed(2);
}

function plain(text) {
  return text.replace(/[&<>"]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter]);
}
