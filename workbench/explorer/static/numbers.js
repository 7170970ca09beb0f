/** A share as per cent with one digit, two where one would say 0.0 or 100.0 of what is not. */
export function percent(share) {
  if (share === null || Number.isNaN(share)) return "–";
  const extreme = (share > 0 && share < 0.0005) || (share >= 0.9995 && share < 1);
  return `${(100 * share).toFixed(extreme ? 2 : 1)} %`;
}

export const count = (value) => value.toLocaleString("en-GB");

/** "1 image", "2 images"; a plural that is not formed by an s is named. */
export const counted = (value, noun, plural = `${noun}s`) => `${count(value)} ${value === 1 ? noun : plural}`;

/** A number with three significant digits, without a long tail of zeros. */
export const short = (value) => (Number.isFinite(value) ? String(Number(value.toPrecision(3))) : "–");

const Z = 1.959963984540054;

/** Bounds of the Wilson interval of hits among rows, 95 % by default; 0 to 1 without rows. */
export function wilson(hits, rows, z = Z) {
  if (rows === 0) return [0, 1];
  const p = hits / rows;
  const middle = p + (z * z) / (2 * rows);
  const half = z * Math.sqrt((p * (1 - p)) / rows + (z * z) / (4 * rows * rows));
  const scale = 1 + (z * z) / rows;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}
