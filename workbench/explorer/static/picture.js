/** RGB bytes as ImageData. */
export function fromRgb(rgb, height, width) {
  const data = new Uint8ClampedArray(4 * height * width);
  for (let k = 0, j = 0; k < data.length; k += 4) {
    data[k] = rgb[j++];
    data[k + 1] = rgb[j++];
    data[k + 2] = rgb[j++];
    data[k + 3] = 255;
  }
  return new ImageData(data, width, height);
}

/** The largest magnitude of maps, or their largest positive value: what gets the strongest colour. */
export function scaleOf(maps, signed) {
  let top = 0;
  for (const values of maps)
    for (const value of values) top = Math.max(top, signed ? Math.abs(value) || 0 : value || 0);
  return top;
}

/** A map of (rows, columns) at (height, width), bilinear with the centres of cells in their place. */
export function upsample(values, [rows, columns], height, width) {
  const result = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const v = Math.min(rows - 1, Math.max(0, ((y + 0.5) * rows) / height - 0.5));
    const top = Math.min(rows - 1, Math.floor(v));
    const bottom = Math.min(rows - 1, top + 1);
    for (let x = 0; x < width; x++) {
      const u = Math.min(columns - 1, Math.max(0, ((x + 0.5) * columns) / width - 0.5));
      const left = Math.min(columns - 1, Math.floor(u));
      const right = Math.min(columns - 1, left + 1);
      const [a, b] = [v - top, u - left];
      const upper = (1 - b) * values[top * columns + left] + b * values[top * columns + right];
      const lower = (1 - b) * values[bottom * columns + left] + b * values[bottom * columns + right];
      result[y * width + x] = (1 - a) * upper + a * lower;
    }
  }
  return result;
}

/** Place on the colour ramp, 0 to 255; 0 lies in the middle of a signed one. */
export function rampPlace(value, top, signed) {
  const share = top > 0 ? value / top : 0;
  return Math.round(255 * Math.min(1, Math.max(0, signed ? (share + 1) / 2 : share)));
}

export const STRENGTH = 0.65;

/** The map in colours over a grey copy of the image (over plain grey without one), both enlarged to `side` pixels, as RGBA bytes. */
export function overlay(image, map, grid, top, signed, ramp, side, strength = STRENGTH) {
  const large = upsample(map, grid, side, side);
  const out = new Uint8ClampedArray(4 * side * side);
  for (let y = 0; y < side; y++) {
    const row = image ? Math.floor((y * image.height) / side) : 0;
    for (let x = 0; x < side; x++) {
      const source = image ? 4 * (row * image.width + Math.floor((x * image.width) / side)) : 0;
      const grey = image
        ? 0.299 * image.data[source] + 0.587 * image.data[source + 1] + 0.114 * image.data[source + 2]
        : 128;
      const colour = 3 * rampPlace(large[y * side + x], top, signed);
      const target = 4 * (y * side + x);
      for (let c = 0; c < 3; c++) out[target + c] = Math.round((1 - strength) * grey + strength * ramp[colour + c]);
      out[target + 3] = 255;
    }
  }
  return out;
}

/** A CSS gradient of a ramp of 256 colours. */
export function gradient(ramp) {
  const stops = [];
  for (let k = 0; k < 256; k += 15) stops.push(`rgb(${ramp[3 * k]},${ramp[3 * k + 1]},${ramp[3 * k + 2]})`);
  return `linear-gradient(to right, ${stops.join(",")})`;
}
