import { count, percent, wilson } from "./numbers.js";

/** Counts by [true][predicted] from the header's list of cells. */
export function countsOf({ classes, cells }) {
  const counts = classes.map(() => new Float64Array(classes.length));
  for (let k = 0; k < cells.length; k += 3) counts[cells[k]][cells[k + 1]] = cells[k + 2];
  return counts;
}

/** What a cell means, in words, with its rate and 95 % interval. */
export function describeCell(classes, counts, t, p) {
  const rows = counts[t].reduce((sum, value) => sum + value, 0);
  const what = t === p ? `${classes[t]} correct` : `${classes[t]} predicted as ${classes[p]}`;
  const [low, high] = wilson(counts[t][p], rows);
  const share = rows ? percent(counts[t][p] / rows) : "no image";
  return `${count(counts[t][p])} × ${what}: ${share} of the true class (95 % interval ${percent(low)} to ${percent(high)})`;
}

/** Opacity of the error colour for a share of the largest error; the root keeps small errors visible. */
export const strength = (value, largest) => (largest > 0 ? Math.sqrt(value / largest) : 0);

/** The `limit` classes with most rows off the diagonal, in the order given. */
export function mostConfused(counts, order, limit) {
  const errors = counts.map((row, t) => row.reduce((sum, value, p) => sum + (p === t ? 0 : value + counts[p][t]), 0));
  const kept = new Set([...order].sort((a, b) => errors[b] - errors[a]).slice(0, limit));
  return order.filter((k) => kept.has(k));
}

/** All cells of very many classes as pixels, in the given order of classes. */
export function overviewPixels(pixels, order, cells) {
  const side = order.length;
  const place = new Uint32Array(side);
  order.forEach((k, at) => (place[k] = at));
  let largest = 0;
  for (let k = 0; k < cells.length; k += 3) if (cells[k] !== cells[k + 1]) largest = Math.max(largest, cells[k + 2]);
  for (let k = 0; k < cells.length; k += 3) {
    const [t, p, n] = cells.slice(k, k + 3);
    const colour = t === p ? [140, 140, 140, 90] : [181, 64, 58, 60 + 195 * strength(n, largest)];
    colour.forEach((part, c) => (pixels[4 * (place[t] * side + place[p]) + c] = part));
  }
}
