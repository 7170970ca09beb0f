import assert from "node:assert/strict";
import test from "node:test";

import { counted, percent, wilson } from "../../workbench/explorer/static/numbers.js";

test("a share is never rounded to a whole that it is not", () => {
  assert.equal(percent(0.905), "90.5 %");
  assert.equal(percent(0.9999), "99.99 %");
  assert.equal(percent(0.0002), "0.02 %");
  assert.equal(percent(0), "0.0 %");
  assert.equal(percent(NaN), "–");
});

test("Wilson's interval is that of the published example", () => {
  // 81 of 263: Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
  const [low, high] = wilson(81, 263);
  assert.ok(Math.abs(low - 0.2553) < 5e-5 && Math.abs(high - 0.3662) < 5e-5);
  assert.deepEqual(wilson(0, 0), [0, 1]);
});

test("nouns have their plural", () =>
  assert.deepEqual([counted(1, "image"), counted(1200, "error")], ["1 image", "1,200 errors"]));
