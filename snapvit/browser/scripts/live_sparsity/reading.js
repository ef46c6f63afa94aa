// What the curve says at any place, and how its axis is divided.

const SAME = 2e-6; // sparsities this near are one

// What is known at a sparsity: measured there, a straight line between neighbours, or nothing. points: by sparsity.
export function measured(points, sparsity) {
  const same = points.find((point) => Math.abs(point.sparsity - sparsity) < SAME);
  if (same) return { ...same, kind: "measured" };
  const after = points.findIndex((point) => point.sparsity > sparsity);
  if (after < 1) return { kind: "unmeasured" };
  const [left, right] = [points[after - 1], points[after]];
  const part = (sparsity - left.sparsity) / (right.sparsity - left.sparsity);
  const blend = (a, b) => (a === null || b === null ? null : a + part * (b - a));
  const between = Object.keys(left).map((name) => [name, blend(left[name], right[name])]);
  return { ...Object.fromEntries(between), kind: "interpolated", left, right };
}

// The height of a curve of [sparsity, value] at a sparsity; null where it does not reach.
export function heightAt(curve, sparsity) {
  const after = curve.findIndex(([place]) => place > sparsity - SAME);
  if (after < 0) return null;
  const [place, value] = curve[after];
  if (after === 0) return place < sparsity + SAME ? value : null;
  const [from, start] = curve[after - 1];
  return start + (value - start) * Math.min(1, (sparsity - from) / (place - from));
}

// Ticks of an axis in percent about shares that are all to be on it: a few round steps.
export function ticksAbout(shares) {
  const all = shares.map((share) => 100 * Math.max(0, share));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const step = [1, 2, 5, 10].find((size) => most - least <= 5 * size) ?? 20;
  const first = Math.floor(least / step) * step;
  const count = Math.max(1, Math.ceil((Math.min(most, 100) - first) / step - 1e-9));
  return [...Array(count + 1).keys()].map((i) => first + i * step);
}
