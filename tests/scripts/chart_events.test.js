// Changes that are written into a figure on the page, and events that are told.

import assert from "node:assert/strict";
import test from "node:test";
import { at, bold, put, Watch } from "../../snapvit/browser/scripts/chart_events/chart_watch.js";

test("a change is found again where it was put", () => {
  const figure = { data: [{ x: [1, 2] }], layout: { title: { text: "old" }, shapes: [{ x0: 1 }] } };
  for (const [path, value] of [
    [["layout", "title", "text"], "new"],
    [["data", 0, "x"], [3]],
    [["layout", "shapes", 0, "x0"], 7],
    [["layout", "xaxis", "range"], [0, 1]],
  ]) {
    put(figure, path, value);
    assert.deepEqual(at(figure, path), value);
  }
  assert.equal(at(figure, ["layout", "yaxis", "range"]), undefined);
});

test("what has no value is taken away", () => {
  const figure = { layout: { title: { text: "old", x: 0 } } };
  put(figure, ["layout", "title", "text"], undefined);
  assert.deepEqual(figure, { layout: { title: { x: 0 } } });
});

test("containers on the way are new ones, and those beside it the same: plotly compares them", () => {
  const figure = { data: [{ marker: { size: 1 } }, { marker: { size: 2 } }], layout: {} };
  const before = { data: figure.data, first: figure.data[0], second: figure.data[1], marker: figure.data[0].marker };
  put(figure, ["data", 0, "marker", "size"], 5);
  assert.ok(figure.data !== before.data && figure.data[0] !== before.first && figure.data[0].marker !== before.marker);
  assert.ok(figure.data[1] === before.second);
  assert.equal(before.marker.size, 1);
  assert.ok(Array.isArray(figure.data));
});

test("only a title that the theme made bold stays bold", () => {
  const title = ["layout", "title", "text"];
  assert.equal(bold(title, "new", "<b>old</b>"), "<b>new</b>");
  assert.equal(bold(title, "new", "old"), "new");
  assert.equal(bold(title, undefined, "<b>old</b>"), undefined);
  assert.equal(bold(["layout", "xaxis", "title", "text"], "new", "<b>old</b>"), "new");
});

test("a click tells a map's cell, or a point's data, and nothing of what has none", () => {
  const watch = new Watch();
  const told = [];
  watch.tell = (...event) => told.push(event);
  watch.click({ points: [{ data: { type: "heatmap" }, pointIndex: [2, 5] }] });
  watch.click({ points: [{ data: { type: "heatmap" }, pointNumber: [1, 0] }] });
  watch.click({ points: [{ data: { type: "scatter" }, customdata: 9554 }] });
  watch.click({ points: [{ data: { type: "scatter" }, customdata: 0 }] });
  watch.click({ points: [{ data: { type: "scatter" } }] });
  watch.click({ points: [] });
  watch.stop();
  assert.deepEqual(told, [["cell", [2, 5]], ["cell", [1, 0]], ["point", 9554], ["point", 0]]);
});

test("of frames that follow one another only the one that rests is told", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const watch = new Watch();
  const told = [];
  watch.tell = (...event) => told.push(event);
  for (const name of ["1", "2", "3"]) {
    watch.frame({ name });
    context.mock.timers.tick(399);
  }
  assert.deepEqual(told, []);
  context.mock.timers.tick(1);
  assert.deepEqual(told, [["frame", "3"]]);
  watch.frame({ name: "4" });
  watch.stop();
  context.mock.timers.tick(1000);
  assert.equal(told.length, 1, "a watch that ended tells nothing");
});
