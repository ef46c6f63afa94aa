// Several buttons as one stop of the Tab key, as in any toolbar: the arrow keys go from one to the next.

const NEXT = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

// To be called again whenever other buttons are there; the one that Tab reaches stays it if it still is.
export function rove(buttons) {
  const stop = buttons.find((button) => button.tabIndex === 0 && button.roving) ?? buttons[0];
  for (const button of buttons) {
    button.tabIndex = button === stop ? 0 : -1;
    button.roving = buttons;
    button.removeEventListener("keydown", move);
    button.addEventListener("keydown", move);
  }
}

function move(event) {
  const buttons = event.currentTarget.roving.filter((button) => button.isConnected && !button.hidden);
  const at = buttons.indexOf(event.currentTarget);
  const ends = { Home: 0, End: buttons.length - 1 };
  const to = event.key in NEXT ? (at + NEXT[event.key] + buttons.length) % buttons.length : ends[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  for (const button of buttons) button.tabIndex = -1;
  buttons[to].tabIndex = 0;
  buttons[to].focus();
}
