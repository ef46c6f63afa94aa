// Where points are on the screen, and which of them are meant.

const MARGIN = 34; // px around the points
const FAR = 40; // largest zoom

// The box around all points, wherever on their ways. xs, ys: arrays of places.
export function boxOf(xs, ys) {
  const [[left, right], [bottom, top]] = [ends(xs), ends(ys)];
  return { left, right, bottom, top };
}

// The least and the most of arrays that are too long to be a call's arguments.
function ends(arrays) {
  let [least, most] = [Infinity, -Infinity];
  for (const array of arrays) {
    for (const value of array) [least, most] = [Math.min(least, value), Math.max(most, value)];
  }
  return [least, most];
}

// Screen = {x, y} + scale * layout, for a layout in `box`; y grows upwards in the layout. zoom: {scale, x, y}, where x
// and y are the px that the middle was moved by.
export function framed({ left, right, bottom, top }, width, height, zoom) {
  const fit = Math.min(
    (width - 2 * MARGIN) / Math.max(right - left, 1e-6),
    (height - 2 * MARGIN) / Math.max(top - bottom, 1e-6),
  );
  const scale = fit * zoom.scale;
  return {
    scale,
    x: width / 2 + zoom.x - (scale * (left + right)) / 2,
    y: height / 2 + zoom.y + (scale * (bottom + top)) / 2,
  };
}

// The zoom that is larger by `factor` and leaves what is at (x, y) where it is; never farther out than the whole.
export function zoomed(zoom, factor, x, y, width, height) {
  const scale = Math.min(Math.max(zoom.scale * factor, 1), FAR);
  if (scale === 1) return { scale, x: 0, y: 0 };
  const ratio = scale / zoom.scale;
  const shift = (at, middle, moved) => at - middle - ratio * (at - middle - moved);
  return { scale, x: shift(x, width / 2, zoom.x), y: shift(y, height / 2, zoom.y) };
}

// A way from 0 to 1 that starts and ends softly.
export function eased(way) {
  return way * way * (3 - 2 * way);
}

// Inside by counting the crossings of a ray (even-odd rule); corners are [x, y].
export function inside(corners, x, y) {
  let is = false;
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [x1, y1] = corners[i];
    const [x2, y2] = corners[j];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) is = !is;
  }
  return is;
}

// The shown point nearest to a place, closer than `reach`; -1 where there is none.
export function nearest(xs, ys, shown, x, y, reach) {
  let [best, row] = [reach * reach, -1];
  for (let i = 0; i < xs.length; i++) {
    if (!shown[i]) continue;
    const distance = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
    if (distance < best) [best, row] = [distance, i];
  }
  return row;
}
