// Keeps a stack of matrices for the charts of the page; chart_watch.js writes its entries into them.

import { common } from "./common.js";

const NOTHING = -32768; // stands for NaN

export default function ({ data }) {
  if (common.stacks.get(data.name)?.upper !== data.upper) common.stacks.set(data.name, unpacked(data));
}

// Symmetric matrices from the rows above their diagonal: base64 of little-endian int16. entry(k, i, j) of the k-th.
export function unpacked({ upper, size, step, diagonal }) {
  const bytes = Uint8Array.from(atob(upper), (letter) => letter.charCodeAt(0));
  const whole = new Int16Array(bytes.buffer);
  const each = (size * (size - 1)) / 2;
  const entry = (k, i, j) => {
    if (i === j) return diagonal[i];
    const [row, column] = i < j ? [i, j] : [j, i];
    const number = whole[k * each + row * size - (row * (row + 1)) / 2 + column - row - 1];
    return number === NOTHING ? null : number * step;
  };
  return { upper, count: each ? whole.length / each : 1, entry };
}
