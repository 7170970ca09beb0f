const MARGIN = 4; // pixels at the edge of a canvas that no point touches

/** The view {x, y, scale} in which all points fill a canvas: a point p lies at (p - x) * scale. */
export function fitted(points, width, height) {
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let k = 0; k < points.length; k += 2) {
    left = Math.min(left, points[k]);
    right = Math.max(right, points[k]);
    top = Math.min(top, points[k + 1]);
    bottom = Math.max(bottom, points[k + 1]);
  }
  const scale = 0.94 * Math.min(width / (right - left || 1), height / (bottom - top || 1));
  return { x: (left + right) / 2 - width / 2 / scale, y: (top + bottom) / 2 - height / 2 / scale, scale };
}

/** Offsets of the pixels of a disc around its middle. */
function disc(radius) {
  const offsets = [];
  const whole = Math.ceil(radius);
  for (let y = -whole; y <= whole; y++)
    for (let x = -whole; x <= whole; x++) if (x * x + y * y <= radius * radius + 0.1) offsets.push([x, y]);
  return offsets;
}

/** Paint points as discs in their colours: all of them faintly, and those of `rows` strongly on top. */
export function paintPoints(image, points, view, rgb, rows, ratio) {
  const { width, height } = image;
  const pixels = new Uint32Array(image.data.buffer);
  const length = points.length / 2;
  const put = (k, offsets, alpha) => {
    const x = Math.round((points[2 * k] - view.x) * view.scale);
    const y = Math.round((points[2 * k + 1] - view.y) * view.scale);
    if (x < MARGIN || y < MARGIN || x >= width - MARGIN || y >= height - MARGIN) return;
    const value = (alpha << 24) | (rgb[3 * k + 2] << 16) | (rgb[3 * k + 1] << 8) | rgb[3 * k];
    for (const [dx, dy] of offsets) pixels[(y + dy) * width + x + dx] = value;
  };
  const all = rows.length === length;
  const radius = Math.min(3.2, Math.max(0.6, 320 / Math.sqrt(length))) * ratio;
  if (!all) {
    const faint = disc(radius * 0.7);
    for (let k = 0; k < length; k++) put(k, faint, 70);
  }
  const strong = disc(all ? radius : Math.min(3.2 * ratio, radius * 1.5));
  for (const k of rows) put(k, strong, 255);
}

/**
 * Position of the row nearest to a place on the canvas, within some pixels; -1 for none.
 * @param {number[]} place
 */
export function nearestPoint(points, view, rows, place, pixels) {
  const [x, y] = place;
  let [best, nearest] = [-1, pixels ** 2];
  for (const k of rows) {
    const distance =
      ((points[2 * k] - view.x) * view.scale - x) ** 2 + ((points[2 * k + 1] - view.y) * view.scale - y) ** 2;
    if (distance < nearest) [best, nearest] = [k, distance];
  }
  return best;
}
