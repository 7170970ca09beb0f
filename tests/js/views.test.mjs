import assert from "node:assert/strict";
import test from "node:test";

import { csvOf } from "../../workbench/explorer/static/csv.js";
import { countsOf, describeCell, mostConfused, strength } from "../../workbench/explorer/static/confusion.js";
import { kernelSource } from "../../workbench/explorer/static/kernel.js";
import { historyWords } from "../../workbench/explorer/static/history.js";
import { layout } from "../../workbench/explorer/static/tiles.js";
import { curveOf, curveWords, lowestOf } from "../../workbench/explorer/static/corruptions.js";
import { pairOf } from "../../workbench/explorer/static/concepts.js";
import { orderOf, orders } from "../../workbench/explorer/static/orders.js";
import { outlineOf } from "../../workbench/explorer/static/together.js";
import { within, zoomed } from "../../workbench/explorer/static/zoom.js";
import { withDifferences } from "../../workbench/explorer/static/whatif.js";
import { families } from "../../workbench/explorer/static/maps.js";
import { rampPlace, scaleOf, upsample } from "../../workbench/explorer/static/picture.js";
import { colours } from "../../workbench/explorer/static/colours.js";
import { Table } from "../../workbench/explorer/static/table.js";
import { Thumbnails, sideFor } from "../../workbench/explorer/static/thumbnails.js";

test("a cell says its count, share and interval", () => {
  const counts = countsOf({ classes: ["cat", "dog"], cells: [0, 0, 8, 0, 1, 2, 1, 1, 5] });
  assert.deepEqual(
    counts.map((row) => [...row]),
    [
      [8, 2],
      [0, 5],
    ],
  );
  assert.equal(
    describeCell(["cat", "dog"], counts, 0, 1),
    "2 × cat predicted as dog: 20.0 % of the true class (95 % interval 5.7 % to 51.0 %)",
  );
  assert.deepEqual(mostConfused(counts, [0, 1], 1), [0]);
});

test("more errors never look like less", () => {
  let before = -1;
  for (let value = 0; value <= 50; value++) {
    assert.ok(strength(value, 50) > before);
    before = strength(value, 50);
  }
  assert.equal(strength(3, 0), 0);
});

test("a stronger value never looks weaker, and none is lost in enlarging", () => {
  let before = -1;
  for (let value = -2; value <= 2; value += 0.01) {
    assert.ok(rampPlace(value, 2, true) >= before);
    before = rampPlace(value, 2, true);
  }
  assert.deepEqual(
    [rampPlace(-1, 2, false), rampPlace(0, 2, true), rampPlace(5, 2, false), rampPlace(1, 0, false)],
    [0, 128, 255, 0],
  );
  assert.deepEqual(
    [...upsample([1, 2, 3, 4], [2, 2], 4, 4)].map((v) => v.toFixed(4)),
    [
      "1.0000",
      "1.2500",
      "1.7500",
      "2.0000",
      "1.5000",
      "1.7500",
      "2.2500",
      "2.5000",
      "2.5000",
      "2.7500",
      "3.2500",
      "3.5000",
      "3.0000",
      "3.2500",
      "3.7500",
      "4.0000",
    ],
  );
  assert.deepEqual([scaleOf([[-3, 1]], true), scaleOf([[-3, 1]], false), scaleOf([[-3]], false)], [3, 1, 0]);
});

test("maps of one method and layer share a scale, others do not", () => {
  const maps = ["a", "a", "b"].map((method) => ({ model: "", method, layer: "x" }));
  assert.deepEqual(
    families(maps, false).map((family) => family.map(({ place }) => place)),
    [[0, 1], [2]],
  );
  assert.equal(families(maps, true).length, 3);
});

test("every row has one tile, in order, under its group", () => {
  const rows = Uint32Array.from({ length: 23 }, (_, k) => k);
  const plain = layout(rows, 5, 100, null, null);
  assert.deepEqual(
    plain.lines.flatMap((line) => [...line.rows]),
    [...rows],
  );
  assert.equal(plain.height, plain.lines[0].top + 500);
  const groups = layout(
    rows,
    5,
    100,
    (k) => k % 2,
    (k) => (k % 2 ? "odd" : "even"),
  );
  assert.deepEqual(
    groups.lines.filter(({ heading }) => heading).map(({ heading }) => heading),
    ["even (12)", "odd (11)"],
  );
  assert.equal(groups.lines.flatMap((line) => (line.rows ? [...line.rows] : [])).length, 23);
  for (let k = 1; k < groups.lines.length; k++)
    assert.equal(groups.lines[k].top, groups.lines[k - 1].top + groups.lines[k - 1].height);
});

test("rows as CSV keep quotes, commas and line breaks", () => {
  const column = (kind, values, categories = []) => ({ kind, values, categories });
  const table = new Table({
    index: column("number", Float64Array.of(7)),
    label: column("class", Uint16Array.of(0), ['a "b", c']),
    margin: column("number", Float64Array.of(NaN)),
  });
  const decisions = new Map([[7, { tags: ["x", "y"], label: 0, note: "=1" }]]);
  assert.equal(
    csvOf({ table, rows: [0], decisions }),
    `index,label,margin,tags,corrected_label,note\r\n7,"a ""b"", c",,x; y,"a ""b"", c",'=1\r\n`,
  );
});

test("colours of few classes are the palette's, of numbers the ramp's, of none grey", () => {
  const palette = ["#ff0000", "#00ff00"];
  const ramp = Array.from({ length: 768 }, (_, k) => Math.floor(k / 3));
  const classes = colours({ kind: "class", values: Uint16Array.of(1, 0), categories: ["a", "b"] }, palette, ramp);
  assert.deepEqual([...classes.rgb], [0, 255, 0, 255, 0, 0]);
  const numbers = colours({ kind: "number", values: Float64Array.of(0, 10, NaN) }, palette, ramp);
  assert.deepEqual([...numbers.rgb], [0, 0, 0, 255, 255, 255, 140, 140, 140]);
  assert.deepEqual(numbers.ends, [0, 10]);
  const many = colours({ kind: "class", values: Uint16Array.of(0, 2), categories: ["a", "b", "c"] }, palette, ramp);
  assert.deepEqual([...many.rgb], [255, 0, 0, 140, 140, 140]);
  assert.equal(many.legend[1][0], "2 more");
});

test("pictures are asked for once, in parts, and a missing one is known", async () => {
  const asked = [];
  const thumbnails = new Thumbnails(async (part) => {
    asked.push(part.length);
    return new Map(part.map((id) => [id, id === 3 ? null : { width: 32, height: 32 }]));
  });
  const ids_ = Array.from({ length: 300 }, (_, k) => k);
  await Promise.all([thumbnails.need(ids_), thumbnails.need(ids_)]);
  await thumbnails.need(ids_);
  assert.deepEqual(asked, [256, 44]);
  assert.ok(thumbnails.has(3) && thumbnails.has(299));
});

test("a photograph is asked for again where it is shown larger, a small image is not", async () => {
  const asked = [];
  const thumbnails = new Thumbnails(async (part, side) => {
    asked.push([part, side]);
    return new Map(part.map((id) => [id, id === 0 ? { width: 32, height: 32 } : { width: side, height: side }]));
  });
  await thumbnails.need([0, 1], 64);
  await thumbnails.need([0, 1], sideFor(84, 1));
  await thumbnails.need([0, 1], 64);
  assert.deepEqual(asked, [
    [[0, 1], 64],
    [[1], 128],
  ]);
  assert.deepEqual([sideFor(56, 1), sideFor(84, 2), sideFor(128, 3)], [64, 256, 256]);
});

test("of many large pictures the longest known are forgotten", async () => {
  const load = async (part) => new Map(part.map((id) => [id, { width: 100, height: 100 }]));
  const thumbnails = new Thumbnails(load, new Map(), 64, 25000);
  await thumbnails.need([1]);
  await thumbnails.need([2, 3]);
  assert.deepEqual([1, 2, 3].map((id) => thumbnails.has(id)), [false, true, true]);
});

test("maps that come ahead of the answer are seen at once and are part of it", async () => {
  const said = (method) => ({ method, title: method, layer: "", target: "", model: "", refused: "", grid: [1, 1] });
  const bytes = (value) => new Uint8Array(Float32Array.of(value).buffer);
  const questions = {
    ask: async (name, content, early) => {
      early({ progress: "a while" }, []);
      early({ part: "maps", maps: [said("a")] }, [bytes(1)]);
      return { maps: [said("b")], buffers: [bytes(2)] };
    },
  };
  const source = kernelSource(questions, { header: { words: { questions: ["explain"] } }, can: {} });
  const [told, seen] = [[], []];
  const { maps } = await source.explain({}, (words) => told.push(words), (some) => seen.push(some.map(({ method }) => method)));
  assert.deepEqual([told, seen], [["a while"], [["a"]]]);
  assert.deepEqual(maps.map(({ values }) => [...values]), [[1], [2]]);
});

test("an order has a reason, or the column's name", () => {
  const column = (values) => ({ title: "a column", kind: "number", dtype: "f8", categories: [], values });
  const table = new Table({ index: column(Float64Array.of(0)), loss: column(Float64Array.of(1)) });
  const { choices, chosen } = orders(table, { order: "loss", descending: true });
  assert.deepEqual(orderOf(chosen), { order: "loss", descending: true });
  assert.equal(choices.find(([value]) => value === chosen)[1], "most costly first");
  assert.equal(orders(table, { order: "loss", descending: false }).chosen, "loss");
  assert.deepEqual(orderOf("loss"), { order: "loss" });
});

test("zooming keeps the place under the pointer, and the picture covers its frame", () => {
  const view = zoomed({ scale: 1, x: 0, y: 0 }, 2, [0.25, 1]);
  assert.deepEqual(view, { scale: 2, x: -0.25, y: -1 });
  assert.deepEqual(within({ scale: 2, x: 0.5, y: -3 }), { scale: 2, x: 0, y: -1 });
  assert.deepEqual(zoomed(view, 0.1, [0.5, 0.5]), { scale: 1, x: 0, y: 0 });
});

test("a change's maps stand beside those before it, with their difference", () => {
  const map = (target, values) => ({ target, title: target, method: "m", layer: "l", signed: false, values: Float32Array.from(values) });
  const made = withDifferences([map("cat", [1, 2])], [map("cat", [3, 1]), map("dog", [5, 5])], {});
  assert.deepEqual(made.map(({ title }) => title), ["cat, before", "cat, after", "cat, after less before", "dog"]);
  assert.deepEqual([...made[2].values], [2, -1]);
  assert.equal(families(made, false).length, 2); // the difference has a scale that is not that of the maps
});

test("concepts are for the errors of one pair of classes", () => {
  const column = (values) => ({ title: "", kind: "class", dtype: "u2", categories: ["a", "b"], values: Uint16Array.from(values) });
  const table = new Table({
    index: { title: "", kind: "number", dtype: "f8", categories: [], values: Float64Array.from({ length: 24 }, (_, k) => k) },
    label: column(Array(24).fill(0)),
    predicted: column([...Array(12).fill(1), ...Array(12).fill(0)]),
  });
  const rows = (first, end) => Uint32Array.from({ length: end - first }, (_, k) => first + k);
  assert.deepEqual(pairOf(table, rows(0, 12)), [0, 1]);
  assert.equal(pairOf(table, rows(0, 5)), null); // too few
  assert.equal(pairOf(table, rows(0, 13)), null); // one is correct
  assert.equal(pairOf(table, rows(12, 24)), null); // all are
});

test("the outline of a region is its border", () => {
  assert.equal(outlineOf(Uint8Array.of(1, 0, 0, 0), 2), "M0 0h1M0 0v1M1 0v1M0 1h1");
});

test("findings are asked for once, and again after a failure", async () => {
  let asked = 0;
  const column = { title: "old camera", kind: "category", dtype: "u1", categories: ["no", "yes"] };
  const questions = {
    ask: async () => {
      asked += 1;
      if (asked === 1) throw new Error("no memory");
      return { cards: [], columns: { "slices: old camera": column }, buffers: [Uint8Array.of(0, 1)] };
    },
  };
  const source = kernelSource(questions, { header: { words: { questions: ["findings"] } }, can: {} });
  await assert.rejects(source.findings(), /no memory/);
  const [first, second] = await Promise.all([source.findings(), source.findings()]);
  assert.equal(first, second);
  assert.equal(asked, 2);
  assert.deepEqual([...first.columns["slices: old camera"].values], [0, 1]);
});

test("an image's history says what it never was", () => {
  const classes = ["cat", "dog"];
  assert.deepEqual(historyWords({ correct: [false, false], predicted: [1, 1] }, classes), [
    "Never learnt",
    "last predicted as dog",
  ]);
  const test = { correct: null, predicted: [0, 1] }; // of test rows only what was predicted is recorded
  assert.deepEqual(historyWords(test, classes, 1), ["Correct from epoch 2 to the end", "never forgotten"]);
  assert.deepEqual(historyWords({ correct: null, predicted: null }, classes, 1), [
    "Whether the model was correct is not recorded",
  ]);
  assert.deepEqual(historyWords({ correct: [false, true, true] }, classes), [
    "Correct from epoch 2 to the end",
    "never forgotten",
  ]);
  assert.deepEqual(historyWords({ correct: [true, false], predicted: [0, 1] }, classes), [
    "Misclassified at the end",
    "forgotten once",
    "last predicted as dog",
  ]);
});

test("a corruption's curve begins at the images as they are, and is said in words", () => {
  const measured = { clean: [[0.9, 0.88, 0.92]], curves: [{ fog: [[0.85, 0.8, 0.9], [0.7, 0.64, 0.76]] }] };
  const points = curveOf(measured, 0, "fog");
  assert.deepEqual(points[0], [0.9, 0.88, 0.92]);
  assert.equal(curveWords("fog", points), "fog: accuracy 90.0 % without it, 85.0 %, 70.0 % at strengths 1 to 2");
  assert.equal(lowestOf([points]), 0.6);
  assert.equal(lowestOf([[[0.05, 0.02, 0.1]]]), 0);
});
