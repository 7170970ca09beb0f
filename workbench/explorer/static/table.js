/** @import { Column } from "./types.d.ts" */

const ARRAYS = {
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  i4: Int32Array,
  i8: BigInt64Array,
  f4: Float32Array,
  f8: Float64Array,
};

/** The values of a column from its bytes. */
export function valuesOf(dtype, bytes) {
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return new ARRAYS[dtype](copy);
}

/** Half-precision floats (IEEE 754 binary16) as floats. */
export function halves(bytes) {
  const words = valuesOf("u2", bytes);
  return Float32Array.from(words, (word) => {
    const [sign, exponent, fraction] = [word & 0x8000 ? -1 : 1, (word >> 10) & 31, word & 1023];
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
  });
}

/** Columns of numbers by name, in the order of row ids; a position is a row's place in them. */
export class Table {
  /** @param {Record<string, Column>} columns */
  constructor(columns) {
    this.columns = columns; // name -> {title, kind, dtype, categories, values}
    this.length = columns.index ? columns.index.values.length : 0;
    this.orders = new Map();
  }

  add(name, column) {
    this.columns[name] = column;
    this.orders.delete(name);
  }

  remove(name) {
    delete this.columns[name];
    this.orders.delete(name);
  }

  value(name, position) {
    return this.columns[name].values[position];
  }

  /** Row id at a position. */
  id(position) {
    return this.columns.index.values[position];
  }

  /** Position of a row id, -1 if it is not there. */
  position(id) {
    const ids = this.columns.index.values;
    let low = 0;
    let high = ids.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (ids[middle] === id) return middle;
      if (ids[middle] < id) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** What stands in a cell, for people. */
  text(name, position) {
    const { kind, categories, values } = this.columns[name];
    const value = values[position];
    if (kind !== "number") return categories[value];
    if (name === "index" || Number.isInteger(value)) return String(value);
    return Number.isNaN(value) ? "–" : value.toFixed(Math.abs(value) < 0.01 && value !== 0 ? 4 : 3);
  }

  names(...kinds) {
    return Object.keys(this.columns).filter((name) => kinds.includes(this.columns[name].kind));
  }
}

/** Positions in ascending order of their keys, equal ones as they came: a radix sort of doubles; nan comes last. */
export function sorted(positions, keyOf, descending) {
  const n = positions.length;
  const keys = new Float64Array(n);
  for (let k = 0; k < n; k++) keys[k] = keyOf(positions[k]);
  const words = new Uint32Array(keys.buffer);
  for (let k = 0; k < n; k++) {
    let low = words[2 * k];
    let high = words[2 * k + 1];
    if (Number.isNaN(keys[k])) low = high = 0xffffffff;
    else {
      // the bits of a double in an order that unsigned numbers share
      if (keys[k] === 0) high = low = 0; // minus zero is zero
      if (high & 0x80000000) [high, low] = [~high, ~low];
      else high |= 0x80000000;
      if (descending) [high, low] = [~high, ~low];
    }
    words[2 * k] = low;
    words[2 * k + 1] = high;
  }
  let order = new Uint32Array(n).map((_, k) => k);
  let other = new Uint32Array(n);
  const starts = new Uint32Array(65537);
  for (let pass = 0; pass < 4; pass++) {
    const word = pass >> 1;
    const shift = 16 * (pass & 1);
    starts.fill(0);
    for (let k = 0; k < n; k++) starts[((words[2 * k + word] >>> shift) & 0xffff) + 1]++;
    if (n && starts[((words[word] >>> shift) & 0xffff) + 1] === n) continue; // all have the same digit
    for (let d = 0; d < 65536; d++) starts[d + 1] += starts[d];
    for (let k = 0; k < n; k++) other[starts[(words[2 * order[k] + word] >>> shift) & 0xffff]++] = order[k];
    [order, other] = [other, order];
  }
  return order.map((k) => positions[k]);
}
