// Points as Python packs them, unpacked by hand beside.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import test from "node:test";
import { cornersOf, decoded } from "../../snapvit/browser/scripts/embedding_projection/points.js";
import { unpacked } from "../../snapvit/browser/scripts/matrix_stack.js";

const packed = (array) => Buffer.from(array.buffer).toString("base64");

test("ids, places, classes and votes come out as they went in", () => {
  const layout = (low, high, x, y) => ({ low, high, x: packed(Uint16Array.from(x)), y: packed(Uint16Array.from(y)) });
  const points = decoded({
    ofFull: {
      ids: packed(Uint32Array.of(7, 70_000, 3)),
      labels: packed(Int16Array.of(0, -1, 2)),
      before: packed(Int16Array.of(2)),
      full: layout([-1, 10], [1, 20], [0, 65535, 13107], [65535, 0, 0]),
    },
    ofCut: { cut: layout([0, 0], [1, 1], [0, 65535, 0], [0, 0, 65535]), after: packed(Int16Array.of(-1)) },
    group: packed(Uint8Array.of(1, 0, 255)),
    shown: packed(Uint8Array.of(0b101)),
  });
  assert.deepEqual([...points.ids], [7, 70_000, 3]);
  assert.deepEqual([...points.labels], [0, -1, 2]);
  assert.deepEqual([...points.group], [1, 0, 255]);
  assert.deepEqual([...points.shown], [1, 0, 1]);
  assert.deepEqual([[...points.before], [...points.after]], [[2], [-1]]);
  assert.deepEqual([...points.fullX], [-1, 1, Math.fround(-0.6)]);
  assert.deepEqual([...points.fullY], [20, 10, 10]);
  assert.deepEqual([[...points.cutX], [...points.cutY]], [[0, 1, 0], [0, 0, 1]]);
});

test("more than eight points take more than one byte of bits", () => {
  const count = 19;
  const wanted = Array.from({ length: count }, (_, i) => (i % 3 === 0 ? 1 : 0));
  const bits = new Uint8Array(3);
  wanted.forEach((is, i) => (bits[Math.floor(i / 8)] += is * 2 ** (i % 8)));
  const zeros = { low: [0, 0], high: [1, 1], x: packed(new Uint16Array(count)), y: packed(new Uint16Array(count)) };
  const points = decoded({
    ofFull: { ids: packed(new Uint32Array(count)), labels: "", before: "", full: zeros },
    ofCut: { cut: zeros, after: "" },
    group: packed(new Uint8Array(count)),
    shown: packed(bits),
  });
  assert.deepEqual([...points.shown], wanted);
});

test("marks that are no circles are as large as one and point where they say", () => {
  const area = (corners) =>
    Math.abs(corners.reduce((sum, [x, y], i) => {
      const [nextX, nextY] = corners[(i + 1) % corners.length];
      return sum + x * nextY - y * nextX;
    }, 0)) / 2;
  for (const shape of ["square", "up", "down"]) {
    const ratio = area(cornersOf(shape)) / Math.PI;
    assert.ok(ratio > 0.65 && ratio < 1.1, `${shape} ${ratio}`);
  }
  const tip = (shape) => cornersOf(shape).reduce((far, corner) => (Math.abs(corner[1]) > Math.abs(far[1]) ? corner : far));
  assert.ok(tip("up")[1] < 0 && tip("down")[1] > 0, "y grows downwards on a screen");
});

test("every entry of a stack of symmetric matrices is found from both sides", () => {
  const [size, count, step] = [5, 3, 0.25];
  const value = (k, i, j) => 100 * k + 10 * Math.min(i, j) + Math.max(i, j);
  const upper = [];
  for (let k = 0; k < count; k++) for (let i = 0; i < size; i++) for (let j = i + 1; j < size; j++) upper.push(value(k, i, j));
  const diagonal = [1, 1, null, 1, 1];
  const stack = unpacked({ upper: packed(Int16Array.from(upper)), size, step, diagonal });
  assert.equal(stack.count, count);
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) assert.equal(stack.entry(k, i, j), i === j ? diagonal[i] : step * value(k, i, j));
    }
  }
  const empty = unpacked({ upper: packed(Int16Array.of(-32768, 4, 4)), size: 3, step, diagonal });
  assert.equal(empty.entry(0, 0, 1), null);
  assert.equal(empty.entry(0, 2, 1), 1);
});
