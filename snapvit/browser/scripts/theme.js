// Whether the page around this node has a dark background.
export function isDark(node) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(node).getPropertyValue("--st-background-color").trim() || "#fff";
  return isDarkColour(probe.fillStyle);
}

// Of `#rrggbb`, as a canvas writes every opaque colour.
export function isDarkColour(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.3 * red + 0.59 * green + 0.11 * blue < 128;
}
