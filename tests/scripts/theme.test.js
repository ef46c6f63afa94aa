import assert from "node:assert/strict";
import test from "node:test";
import { isDarkColour } from "../../snapvit/browser/scripts/theme.js";

test("a page is dark where its background is", () => {
  for (const dark of ["#000000", "#0e1117", "#0000ff", "#7f7f7f"]) assert.equal(isDarkColour(dark), true, dark);
  for (const light of ["#ffffff", "#f0f2f6", "#00ff00", "#818181"]) assert.equal(isDarkColour(light), false, light);
});
