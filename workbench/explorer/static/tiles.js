import { h } from "./dom.js";
import { count, percent } from "./numbers.js";

const OWN_MARK = "●"; // of the user's own tags
const HEADING_HEIGHT = 30;
const TOP_EDGE = 4; // room for the frame of the selected picture

/** What a tile says of its image, and a whole sentence for a screen reader. */
export function labelOf(table, position, tags = []) {
  const [label, predicted] = ["label", "predicted"].map((name) => table.text(name, position));
  const confidence = percent(table.value("confidence", position));
  const correct = table.value("correct", position) === 1;
  const verdict = correct ? "correct" : `predicted as ${predicted}`;
  const said = tags.length ? `, tagged ${tags.join(", ")}` : "";
  return {
    label,
    predicted,
    correct,
    confidence,
    sentence: `Image ${table.id(position)}: ${label}, ${verdict}, confidence ${confidence}${said}`,
  };
}

/** Lines of tiles with their heights: rows in their order, or by group with a heading before each. */
export function layout(rows, columns, tile, groupOf, nameOf) {
  const lines = [];
  let top = TOP_EDGE;
  const add = (line, height) => {
    lines.push({ ...line, top, height });
    top += height;
  };
  const groups = groupOf ? grouped(rows, groupOf) : new Map([[null, rows]]);
  const names = [...groups.keys()].sort((a, b) => groups.get(b).length - groups.get(a).length);
  for (const key of names) {
    const members = groups.get(key);
    if (groupOf) add({ heading: `${nameOf(members[0])} (${count(members.length)})` }, HEADING_HEIGHT);
    for (let first = 0; first < members.length; first += columns)
      add({ rows: members.slice(first, first + columns) }, tile);
  }
  return { lines, height: top };
}

function grouped(rows, groupOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = groupOf(row);
    if (groups.has(key)) groups.get(key).push(row);
    else groups.set(key, [row]);
  }
  return groups;
}

/** The place of the first line that ends below a height. */
export function lineAt(lines, top) {
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].top + lines[middle].height <= top) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The tile of a row, placed at `top` and `left`; `length` rows are in the list. */
export function tileOf(table, position, { tags, marks, length, top, left, pictured }) {
  const id = table.id(position);
  const { label, predicted, correct, confidence, sentence } = labelOf(table, position, tags);
  const second = table.columns.predicted_after ? table.text("predicted_after", position) : null; // of a second model
  const line = (textContent, className = "") => h("span", { textContent, className });
  return h(
    "button",
    {
      type: "button",
      className: "wb-tile",
      role: "option",
      title: sentence,
      "aria-label": sentence,
      "aria-setsize": length,
      tabIndex: -1,
      dataset: { row: id },
      style: { top: `${top}px`, left: `${left}px` },
    },
    h("canvas", { width: 1, height: 1, hidden: !pictured }),
    line(label),
    correct ? line("✓ correct") : line(`→ ${predicted}`, "wb-wrong"),
    second ? line(`then ${second === label ? "✓" : `→ ${second}`}`, second === label ? "" : "wb-wrong") : null,
    line(confidence, "wb-note"),
    tags.length ? h("i", { className: "wb-mark", title: tags.join(", "), textContent: tags.map((tag) => marks[tag] ?? OWN_MARK).join("") }) : null,
  );
}
