const GREY = [140, 140, 140];

/** "#3f90da" as three numbers. */
const rgbOf = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/**
 * The colour of each row by a column, as RGB bytes, with its legend: words with colours, or the ends of a ramp.
 * @returns {{ rgb: Uint8Array, legend?: any[], ends?: number[] }}
 */
export function colours(column, palette, ramp) {
  return column.kind === "number" ? byNumber(column, ramp) : byWord(column, palette);
}

function byWord({ values, categories }, palette) {
  const rgb = new Uint8Array(3 * values.length);
  const all = palette.map(rgbOf);
  const many = categories.length > palette.length;
  const shown = many ? palette.length - 1 : categories.length;
  values.forEach((value, k) => rgb.set(value < shown ? all[value] : GREY, 3 * k));
  const legend = categories.slice(0, shown).map((name, k) => [name, all[k]]);
  return { rgb, legend: many ? [...legend, [`${categories.length - shown} more`, GREY]] : legend };
}

function byNumber({ values }, ramp) {
  const rgb = new Uint8Array(3 * values.length);
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  values.forEach((value, k) => {
    const place = Number.isNaN(value) ? -1 : 3 * Math.round(high > low ? (255 * (value - low)) / (high - low) : 0);
    for (let c = 0; c < 3; c++) rgb[3 * k + c] = place < 0 ? GREY[c] : ramp[place + c];
  });
  return { rgb, ends: [low, high] };
}
