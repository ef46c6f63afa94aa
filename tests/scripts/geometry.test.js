// The projection's geometry, beside brute force and what it promises.

import assert from "node:assert/strict";
import test from "node:test";
import { boxOf, eased, framed, inside, nearest, zoomed } from "../../snapvit/browser/scripts/embedding_projection/geometry.js";

const near = (a, b, by = 1e-9) => assert.ok(Math.abs(a - b) <= by, `${a} is not ${b}`);

// The same numbers each time: a linear congruential generator.
function random(seed) {
  let state = seed;
  return () => (state = (1664525 * state + 1013904223) % 4294967296) / 4294967296;
}

test("the box holds every point and touches four of them", () => {
  const next = random(1);
  const [xs, ys] = [0, 1].map(() => [0, 1].map(() => Float32Array.from({ length: 500 }, () => 20 * next() - 10)));
  const box = boxOf(xs, ys);
  assert.equal(box.left, Math.min(...xs[0], ...xs[1]));
  assert.equal(box.right, Math.max(...xs[0], ...xs[1]));
  assert.equal(box.bottom, Math.min(...ys[0], ...ys[1]));
  assert.equal(box.top, Math.max(...ys[0], ...ys[1]));
});

test("the whole layout is on the screen, its middle in the middle, y upwards", () => {
  const box = { left: -2, right: 6, bottom: 1, top: 3 };
  for (const [width, height] of [[800, 300], [300, 800]]) {
    const { scale, x, y } = framed(box, width, height, { scale: 1, x: 0, y: 0 });
    near(x + scale * 2, width / 2);
    near(y - scale * 2, height / 2);
    assert.ok(x + scale * box.left >= 34 - 1e-9 && x + scale * box.right <= width - 34 + 1e-9);
    assert.ok(y - scale * box.top >= 34 - 1e-9 && y - scale * box.bottom <= height - 34 + 1e-9);
    assert.ok(y - scale * box.top < y - scale * box.bottom);
  }
});

test("zooming leaves what is under the pointer where it is", () => {
  const box = { left: -1, right: 1, bottom: -1, top: 1 };
  const [width, height] = [640, 400];
  let zoom = { scale: 1, x: 0, y: 0 };
  for (const [factor, px, py] of [[1.5, 100, 50], [3, 600, 390], [0.7, 320, 10]]) {
    const before = framed(box, width, height, zoom);
    zoom = zoomed(zoom, factor, px, py, width, height);
    const after = framed(box, width, height, zoom);
    near((px - before.x) / before.scale, (px - after.x) / after.scale, 1e-9);
    near((before.y - py) / before.scale, (after.y - py) / after.scale, 1e-9);
    near(after.scale / before.scale, factor, 1e-9);
  }
});

test("nobody zooms farther out than the whole or closer than forty times", () => {
  assert.deepEqual(zoomed({ scale: 2, x: 30, y: 40 }, 0.1, 5, 5, 100, 100), { scale: 1, x: 0, y: 0 });
  assert.equal(zoomed({ scale: 30, x: 0, y: 0 }, 2, 5, 5, 100, 100).scale, 40);
});

test("the way begins and ends where it should, at rest, and never turns back", () => {
  assert.deepEqual([eased(0), eased(0.5), eased(1)], [0, 0.5, 1]);
  const steps = Array.from({ length: 101 }, (_, i) => eased(i / 100));
  assert.ok(steps.every((value, i) => i === 0 || value > steps[i - 1]));
  assert.ok(steps[1] < 0.001 && 1 - steps[99] < 0.001);
});

test("the nearest shown point within reach is meant, as a search over all says", () => {
  const next = random(7);
  const [xs, ys] = [0, 1].map(() => Float32Array.from({ length: 300 }, () => 100 * next()));
  const shown = Uint8Array.from({ length: 300 }, () => (next() < 0.7 ? 1 : 0));
  for (let trial = 0; trial < 200; trial++) {
    const [x, y] = [100 * next(), 100 * next()];
    const candidates = [...xs.keys()].filter((i) => shown[i] && Math.hypot(xs[i] - x, ys[i] - y) < 4);
    const best = candidates.toSorted((a, b) => Math.hypot(xs[a] - x, ys[a] - y) - Math.hypot(xs[b] - x, ys[b] - y))[0];
    assert.equal(nearest(xs, ys, shown, x, y, 4), best ?? -1);
  }
});

test("a lasso holds what lies inside a circle, and leaves out the bay of a U", () => {
  const circle = Array.from({ length: 720 }, (_, i) => [Math.cos((Math.PI * i) / 360), Math.sin((Math.PI * i) / 360)]);
  const next = random(3);
  for (let trial = 0; trial < 500; trial++) {
    const [x, y] = [3 * next() - 1.5, 3 * next() - 1.5];
    const radius = Math.hypot(x, y);
    if (Math.abs(radius - 1) > 0.001) assert.equal(inside(circle, x, y), radius < 1, `${x} ${y}`);
  }
  const bay = [[0, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3]];
  assert.equal(inside(bay, 1.5, 2), false);
  assert.equal(inside(bay, 0.5, 2), true);
  assert.equal(inside(bay, 2.5, 2), true);
  assert.equal(inside(bay, 1.5, 0.5), true);
});

test("a lasso that crosses itself leaves out what it goes around twice", () => {
  const star = [0, 2, 4, 1, 3].map((i) => [Math.sin((2 * Math.PI * i) / 5), Math.cos((2 * Math.PI * i) / 5)]);
  assert.equal(inside(star, 0, 0), false);
  assert.equal(inside(star, 0, 0.8), true);
});
