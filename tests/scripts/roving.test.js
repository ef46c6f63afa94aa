// Several buttons as one stop of the Tab key.

import assert from "node:assert/strict";
import test from "node:test";
import { rove } from "../../snapvit/browser/scripts/roving.js";

let focused = null;

class Button extends EventTarget {
  tabIndex = 0;
  hidden = false;
  isConnected = true;
  focus() {
    focused = this;
  }
}

function bar(count) {
  const buttons = Array.from({ length: count }, () => new Button());
  rove(buttons);
  return buttons;
}

const stops = (buttons) => buttons.flatMap((button, i) => (button.tabIndex === 0 ? [i] : []));

// Presses a key on a button; whether the page was kept from acting on it.
function press(button, key) {
  const event = Object.assign(new Event("keydown", { cancelable: true }), { key });
  button.dispatchEvent(event);
  return event.defaultPrevented;
}

test("Tab reaches one button of many", () => {
  assert.deepEqual(stops(bar(6)), [0]);
});

test("arrows go around, Home and End to the ends, other keys nowhere", () => {
  const buttons = bar(3);
  let here = 0;
  for (const [key, to] of [["ArrowRight", 1], ["ArrowDown", 2], ["ArrowRight", 0], ["ArrowLeft", 2], ["ArrowUp", 1], ["End", 2], ["Home", 0]]) {
    assert.ok(press(buttons[here], key));
    assert.deepEqual(stops(buttons), [to], key);
    assert.equal(focused, buttons[to]);
    here = to;
  }
  assert.equal(press(buttons[here], "Enter"), false);
  assert.deepEqual(stops(buttons), [0]);
});

test("buttons that are hidden or gone are passed over", () => {
  const buttons = bar(4);
  buttons[1].hidden = true;
  buttons[2].isConnected = false;
  press(buttons[0], "ArrowRight");
  assert.deepEqual(stops(buttons), [3]);
});

test("the button that Tab reaches stays it when the bar is made anew around it, else the first one is", () => {
  const buttons = bar(3);
  press(buttons[0], "End");
  rove([new Button(), ...buttons]);
  assert.deepEqual(stops(buttons), [2]);
  const fresh = [new Button(), new Button()];
  rove(fresh);
  assert.deepEqual(stops(fresh), [0]);
});

test("a bar that is looked at again still moves one step for one key", () => {
  const buttons = bar(4);
  rove(buttons);
  rove(buttons);
  press(buttons[0], "ArrowRight");
  assert.deepEqual(stops(buttons), [1]);
});
