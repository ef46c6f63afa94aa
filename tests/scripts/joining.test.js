// Data and its parts, which come in any order.

import assert from "node:assert/strict";
import test from "node:test";

globalThis.window = new EventTarget();
const { joined, leave } = await import("../../snapvit/browser/scripts/joining.js");
const { default: hand } = await import("../../snapvit/browser/scripts/parts.js");

const carrier = () => ({ isConnected: true });
const given = (to, name, data, root = carrier()) => hand({ data: { to, name, data }, parentElement: { querySelector: () => root } });

test("nothing is received before all parts are there, then everything, and again when a part is new", () => {
  const [root, received] = [{}, []];
  given("one", "cut", { x: 1 });
  joined(root, "one", ["cut", "look"], { key: "one" }, (whole) => received.push(whole));
  assert.deepEqual(received, []);
  given("one", "look", { y: 2 });
  given("one", "cut", { x: 3 });
  assert.deepEqual(received, [{ key: "one", x: 1, y: 2 }, { key: "one", x: 3, y: 2 }]);
});

test("parts of another component are no news", () => {
  const [root, received] = [{}, []];
  given("two", "look", { y: 1 });
  joined(root, "two", ["look"], {}, (whole) => received.push(whole));
  given("three", "look", { y: 2 });
  assert.deepEqual(received, [{ y: 1 }]);
});

test("joining again replaces the first joining, leaving ends it", () => {
  const [root, first, second] = [{}, [], []];
  joined(root, "four", ["look"], {}, (whole) => first.push(whole));
  joined(root, "four", ["look"], {}, (whole) => second.push(whole));
  given("four", "look", { y: 1 });
  leave(root);
  given("four", "look", { y: 2 });
  assert.deepEqual([first, second], [[], [{ y: 1 }]]);
});

test("a part whose carrier left the page is forgotten, unless a newer one took its place", () => {
  const gone = carrier();
  const end = given("five", "look", { y: 1 }, gone);
  end(); // overtaken by a newer render, while it is still on the page
  let received = [];
  joined({}, "five", ["look"], {}, (whole) => received.push(whole));
  assert.deepEqual(received, [{ y: 1 }]);
  given("five", "look", { y: 2 });
  gone.isConnected = false;
  end();
  received = [];
  joined({}, "five", ["look"], {}, (whole) => received.push(whole));
  assert.deepEqual(received, [{ y: 2 }]);
  const last = given("six", "look", { y: 1 }, gone);
  last();
  joined({}, "six", ["look"], {}, () => assert.fail("it is gone"));
});
