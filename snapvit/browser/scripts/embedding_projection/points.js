// The points of the projection and how they are painted.

export const SPRITE = 48; // px, of a mark drawn once and then stamped for every point
export const REACHED = 0.36; // share of a sprite's width that its mark reaches from the middle
export const FADED = { light: "#d9dbe0", dark: "#4a4e57" }; // of points that are not shown

// Numbers travel as base64 of little-endian arrays: ten thousand points are then one short string.
export function numbers(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

export function decoded({ ofFull, ofCut, group, shown }) {
  const [full, cut] = [places(ofFull.full), places(ofCut.cut)];
  const ids = numbers(ofFull.ids, Uint32Array);
  const bits = numbers(shown, Uint8Array);
  return {
    ids, fullX: full.x, fullY: full.y, cutX: cut.x, cutY: cut.y,
    group: numbers(group, Uint8Array),
    shown: Uint8Array.from(ids, (_, i) => (bits[i >> 3] >> (i & 7)) & 1),
    labels: numbers(ofFull.labels, Int16Array),
    before: numbers(ofFull.before, Int16Array), // of the queries alone
    after: numbers(ofCut.after, Int16Array),
  };
}

// Places come as steps of their box.
export function places({ low, high, x, y }) {
  const axis = (text, i) => Float32Array.from(numbers(text, Uint16Array), (step) => low[i] + (step / 65535) * (high[i] - low[i]));
  return { x: axis(x, 0), y: axis(y, 1) };
}

function shapeOf(pen, shape, radius) {
  pen.beginPath();
  if (shape === "circle") pen.arc(0, 0, radius, 0, 2 * Math.PI);
  else for (const [right, down] of cornersOf(shape)) pen.lineTo(right * radius, down * radius);
  pen.closePath();
}

// Of a mark with radius 1 around the origin.
export function cornersOf(shape) {
  if (shape === "square") return [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]];
  const way = shape === "up" ? -1 : 1;
  return [[0, 1.25 * way], [1.1, -0.75 * way], [-1.1, -0.75 * way]];
}

export function sprite(shape, colour, paper) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SPRITE;
  const pen = canvas.getContext("2d");
  pen.translate(SPRITE / 2, SPRITE / 2);
  shapeOf(pen, shape, REACHED * SPRITE);
  pen.fillStyle = colour;
  pen.fill();
  if (paper) {
    pen.lineWidth = 0.06 * SPRITE;
    pen.strokeStyle = paper;
    pen.stroke();
  }
  return canvas;
}
