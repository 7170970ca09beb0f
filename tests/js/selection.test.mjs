import assert from "node:assert/strict";
import test from "node:test";

import { Store } from "../../workbench/explorer/static/store.js";
import { describe, insidePolygon, withCells, withStep } from "../../workbench/explorer/static/selection.js";
import { START } from "./start.mjs";
import { Table } from "../../workbench/explorer/static/table.js";

const column = (kind, values, categories = []) => ({ title: "t", kind, dtype: "f8", categories, values });
function small() {
  const classes = ["ant", "bee", "cow"];
  const table = new Table({
    index: column("number", Float64Array.of(0, 1, 2, 3, 4, 5)),
    label: column("class", Uint16Array.of(0, 0, 1, 1, 2, 2), classes),
    predicted: column("class", Uint16Array.of(0, 1, 1, 0, 0, 1), classes),
    correct: column("flag", Uint8Array.of(1, 0, 1, 0, 0, 0), ["misclassified", "correct"]),
    confidence: { ...column("number", Float64Array.of(0.9, 0.8, 0.7, 0.95, 0.5, 0.6)), title: "confidence" },
    loss: column("number", Float64Array.of(0.1, 1.5, 0.3, 3, 0.9, 2)),
  });
  return new Store({ errors: 4, rows: 6, start: START }, table, new Map());
}
const ids = (store) => [...store.rows].map((k) => store.table.id(k));

test("starts with all errors, highest loss first", () => {
  const store = small();
  assert.deepEqual(ids(store), [3, 5, 1, 4]);
  assert.equal(store.words, "All 4 errors");
});

test("a cell, a row and several cells; the same again releases", () => {
  const store = small();
  store.set(withCells(store.selection, [[1, 0]], false));
  assert.deepEqual(ids(store), [3]);
  assert.equal(store.words, "1 of 4 errors: bee predicted as ant");
  store.set(withCells(store.selection, [[2, -1]], true));
  assert.deepEqual(ids(store), [3, 5, 4]);
  store.set(
    withCells(
      store.selection,
      [
        [1, 0],
        [2, -1],
      ],
      true,
    ),
  );
  assert.deepEqual(ids(store), [3, 5, 1, 4]);
});

test("the diagonal shows correct images", () => {
  const store = small();
  store.set(withCells(store.selection, [[1, 1]], false));
  assert.deepEqual(ids(store), [2]);
  assert.equal(store.words, "1 of 6 images: bee correct");
});

test("steps narrow together and go back one by one", () => {
  const store = small();
  store.set(withStep(store.selection, { kind: "range", column: "confidence", low: 0.6, high: null }));
  assert.deepEqual(ids(store), [3, 5, 1]);
  assert.match(store.words, /confidence of 60.0 % or more/);
  store.set({ selected: 5 });
  store.set(withCells(store.selection, [[2, 1]], false));
  assert.deepEqual([ids(store), store.selection.selected], [[5], 5]);
  store.undo();
  assert.deepEqual(ids(store), [3, 5, 1]);
  store.undo();
  assert.deepEqual(ids(store), [3, 5, 1, 4]);
  store.redo();
  store.redo();
  assert.deepEqual(ids(store), [5]);
});

test("what is no longer selected is no longer shown", () => {
  const store = small();
  store.set({ selected: 3, picked: [3, 5] });
  store.set(withCells(store.selection, [[2, 1]], false));
  assert.deepEqual([store.selection.selected, store.selection.picked], [-1, []]);
});

test("tags select, and change with the decisions", () => {
  const store = small();
  store.decide({ 5: { tags: ["ambiguous"], label: null, note: "" } });
  store.set(withStep(store.selection, { kind: "tags", words: ["ambiguous"] }));
  assert.deepEqual(ids(store), [5]);
  store.decide({ 5: null });
  assert.deepEqual(ids(store), []);
});

test("listeners hear what changed, and nothing if nothing did", () => {
  const store = small();
  const heard = [];
  store.subscribe((changed) => heard.push([...changed].sort()));
  store.set({ order: "loss" });
  store.set({ order: "confidence" });
  store.set({ selected: 4 });
  assert.deepEqual(heard, [["order", "rows"], ["selected"]]);
});

test("the arrows walk the images in the gallery's order, and stop at its ends", () => {
  const store = small();
  assert.deepEqual(ids(store), [3, 5, 1, 4]);
  assert.ok(store.walk(1));
  assert.equal(store.selection.selected, 3);
  assert.ok(store.walk(1));
  assert.deepEqual([store.selection.selected, store.beside(5)], [5, [1, 3]]);
  store.set({ selected: 4 });
  assert.ok(!store.walk(1));
  assert.equal(store.selection.selected, 4);
  store.sequence = Uint32Array.from([...store.rows].reverse()); // as a gallery with groups has them
  assert.ok(store.walk(1));
  assert.equal(store.selection.selected, 1);
});

test("an image outside the selection is shown without filters", () => {
  const store = small();
  store.set(withCells(store.selection, [[2, 1]], false));
  store.look(3);
  assert.deepEqual([store.selection.selected, store.selection.steps], [3, []]);
  assert.ok(ids(store).includes(3));
});

test("decisions made elsewhere replace those that a view began with", () => {
  const store = small();
  const heard = [];
  store.subscribe((changed) => heard.push([...changed]));
  store.replaceDecisions({});
  assert.deepEqual(heard, []);
  store.replaceDecisions({ 5: { tags: ["ambiguous"], label: null, note: "" } });
  assert.deepEqual([...store.decisions.keys()], [5]);
  assert.deepEqual(heard, [["decisions"]]);
});

test("inside a polygon, by the even-odd rule", () => {
  const points = Float32Array.of(0.5, 0.5, 2, 2, -1, 0.5, 0.25, 0.9);
  assert.deepEqual([...insidePolygon(points, [0, 0, 1, 0, 1, 1, 0, 1])], [1, 0, 0, 1]);
});

test("words for what has steps that are many", () => {
  const store = small();
  const cells = [
    [0, 1],
    [1, 0],
    [2, 0],
    [2, 1],
  ];
  const selection = { ...START, steps: [{ kind: "cells", cells }] };
  assert.equal(describe(selection, store.table, 4, 4, 6), "4 of 4 errors: 4 cells of the matrix");
});
