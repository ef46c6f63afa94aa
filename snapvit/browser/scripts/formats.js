// How numbers are written for people: the same rule as snapvit/formats.py.

const UNITS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

export function decimal(value, digits) {
  if (!Number.isFinite(value)) return "–";
  const written = value.toFixed(digits);
  return written.replace("-", /[1-9]/.test(written) ? "−" : "");
}

// A share that was measured or counted: `86.7 %`.
export function percent(share, digits = 1) {
  return `${decimal(100 * share, digits)} %`;
}

// A share that somebody chose: `80 %`, `62.5 %`.
export function ratio(share) {
  return `${decimal(100 * share, 1).replace(/\.0$/, "")} %`;
}

// `797 k`, `1.69 M`.
export function amount(count) {
  const [size, letter] = UNITS.find(([unit]) => count >= 0.9995 * unit) ?? [1, ""];
  return letter ? `${threeDigits(count / size)} ${letter}` : String(count);
}

export function milliseconds(ms) {
  return `${decimal(ms, ms < 0.995 ? 2 : ms < 99.95 ? 1 : 0)} ms`;
}

// `2,000`.
export function grouped(count) {
  return count.toLocaleString("en-US");
}

function threeDigits(value) {
  return decimal(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}
