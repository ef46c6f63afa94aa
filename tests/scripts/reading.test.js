// What the live slider reads off its measured points.

import assert from "node:assert/strict";
import test from "node:test";
import { heightAt, measured, ticksAbout } from "../../snapvit/browser/scripts/live_sparsity/reading.js";
import { widelyRead } from "../../snapvit/browser/scripts/live_sparsity/saving.js";

const points = [
  { sparsity: 0.1, top1: 0.9, gain: null },
  { sparsity: 0.2, top1: 0.8, gain: -0.1 },
  { sparsity: 0.4, top1: 0.4, gain: -0.5 },
];

test("a measured sparsity is said as it was measured", () => {
  for (const point of points) assert.deepEqual(measured(points, point.sparsity + 1e-6), { ...point, kind: "measured" });
});

test("between two points lies their straight line, and nothing where one of them has no number", () => {
  const seen = measured(points, 0.25);
  assert.equal(seen.kind, "interpolated");
  assert.ok(Math.abs(seen.top1 - 0.7) < 1e-12 && Math.abs(seen.gain + 0.2) < 1e-12);
  assert.deepEqual([seen.left, seen.right], points.slice(1));
  assert.equal(measured(points, 0.15).gain, null);
});

test("before the first point, after the last and without any nothing is known", () => {
  for (const where of [0, 0.0999, 0.41, 1]) assert.deepEqual(measured(points, where), { kind: "unmeasured" });
  assert.deepEqual(measured([], 0.2), { kind: "unmeasured" });
});

test("the other way's curve is read in the same places", () => {
  const curve = points.map(({ sparsity, top1 }) => [sparsity, top1]);
  for (const where of [0.1, 0.13, 0.2, 0.25, 0.39, 0.4]) {
    assert.ok(Math.abs(heightAt(curve, where) - measured(points, where).top1) < 1e-9, String(where));
  }
  for (const where of [0, 0.05, 0.5]) assert.equal(heightAt(curve, where), null);
  assert.equal(heightAt([], 0.2), null);
});

test("the axis' ticks are few, even, round and around everything", () => {
  for (const shares of [[0.735, 0.898], [0.5, 0.5], [0, 1], [0.891, 0.899], [-0.2, 0.03], [0.97, 1], [0.6, 0.9001]]) {
    const ticks = ticksAbout(shares);
    const step = ticks[1] - ticks[0];
    assert.ok(ticks.length >= 2 && ticks.length <= 7, `${shares}: ${ticks}`);
    assert.ok([1, 2, 5, 10, 20].includes(step));
    ticks.forEach((tick, i) => assert.equal(tick, ticks[0] + i * step));
    assert.equal(ticks[0] % step, 0);
    assert.ok(ticks[0] <= 100 * Math.max(0, Math.min(...shares)) + 1e-9);
    assert.ok(ticks.at(-1) >= 100 * Math.max(...shares) - 1e-9);
  }
});

test("mixed colours are written as every program reads them, others are left alone", () => {
  assert.equal(widelyRead("color(srgb 1 0.5 0 / 0.25)"), "rgba(255, 128, 0, 0.25)");
  assert.equal(widelyRead("color(srgb 0 0 1)"), "rgba(0, 0, 255, 1)");
  assert.equal(widelyRead("rgb(1, 2, 3)"), "rgb(1, 2, 3)");
  assert.equal(widelyRead("12px"), "12px");
});
