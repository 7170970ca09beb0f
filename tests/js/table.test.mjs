import assert from "node:assert/strict";
import test from "node:test";

import { Table, halves, sorted, valuesOf } from "../../workbench/explorer/static/table.js";

test("the radix sort agrees with the engine's own, ties as they came, nan last", () => {
  const keys = [3, -1, 0, -0, 7.5, -1, Infinity, -Infinity, 1e-300, NaN, 2];
  const positions = Uint32Array.from(keys, (_, k) => k);
  for (const descending of [false, true]) {
    const expected = [...positions].sort((a, b) => {
      if (Number.isNaN(keys[a]) || Number.isNaN(keys[b])) return Number.isNaN(keys[a]) - Number.isNaN(keys[b]);
      return (descending ? -1 : 1) * (keys[a] - keys[b] || 0) || a - b;
    });
    assert.deepEqual([...sorted(positions, (k) => keys[k], descending)], expected);
  }
  assert.equal(sorted(new Uint32Array(0), () => 0, false).length, 0);
});

test("many random keys are in order", () => {
  const keys = Float64Array.from({ length: 5000 }, () => (Math.random() - 0.5) * 10 ** (40 * Math.random() - 20));
  const order = sorted(
    Uint32Array.from(keys, (_, k) => k),
    (k) => keys[k],
    true,
  );
  for (let k = 1; k < order.length; k++) assert.ok(keys[order[k - 1]] >= keys[order[k]]);
  assert.equal(new Set(order).size, keys.length);
});

test("half floats are read", () => {
  const words = Uint16Array.from([0x3c00, 0xc000, 0x3555, 0x0001, 0x7c00, 0x0000]);
  const [one, minusTwo, third, smallest, infinite, zero] = halves(new Uint8Array(words.buffer));
  assert.deepEqual([one, minusTwo, infinite, zero], [1, -2, Infinity, 0]);
  assert.ok(Math.abs(third - 1 / 3) < 1e-4);
  assert.equal(smallest, 2 ** -24);
});

test("rows are found by id, and cells say what they mean", () => {
  const bytes = new Uint8Array(Float64Array.from([4, 9, 17]).buffer);
  const table = new Table({
    index: { title: "row id", kind: "number", dtype: "f8", categories: [], values: valuesOf("f8", bytes) },
    label: {
      title: "true class",
      kind: "class",
      dtype: "u2",
      categories: ["<b>", "cat"],
      values: Uint16Array.of(0, 1, 1),
    },
  });
  assert.deepEqual([table.position(9), table.position(5), table.position(17)], [1, -1, 2]);
  assert.deepEqual([table.text("index", 2), table.text("label", 0)], ["17", "<b>"]);
});
