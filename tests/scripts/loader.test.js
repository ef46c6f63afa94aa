import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import loader, { imported } from "../../snapvit/browser/scripts/notebook/loader.js";

const ROOT = new URL("../../snapvit/browser/scripts/", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "modules"));
let count = 0;

// A browser's blobs are no modules for node, files are.
function written(source) {
  const path = join(folder, `${count++}.mjs`);
  writeFileSync(path, source);
  return pathToFileURL(path).href;
}

function sources() {
  const paths = readdirSync(ROOT, { recursive: true }).filter((path) => path.endsWith(".js"));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(new URL(path, ROOT), "utf8")]));
}

test("modules that import one another are brought together, each once", async () => {
  const modules = {
    "a/entry.js": 'import { two } from "./two.js";\nimport { one } from "../one.js";\nexport const sum = [one, two, one === two.one];',
    "a/two.js": 'import { one } from "../one.js";\nexport const two = { one };',
    "one.js": "export const one = {};",
  };
  const before = count;
  const { sum } = await imported(modules, "a/entry.js", written);
  assert.equal(sum[2], true);
  assert.equal(count - before, 3);
});

test("a module that is missing is named", async () => {
  const modules = { "a.js": 'import { b } from "./b.js";\nexport { b };' };
  await assert.rejects(imported(modules, "a.js", written), /There is no module b\.js/);
});

for (const path of Object.keys(sources())) {
  test(`all that ${path} imports is found`, async () => {
    const here = await import(new URL(path, ROOT));
    assert.deepEqual(Object.keys(await imported(sources(), path, written)), Object.keys(here));
  });
}

test("a widget is what anywidget takes", () => {
  const widget = loader();
  assert.deepEqual(Object.keys(widget), ["initialize", "render"]);
});
