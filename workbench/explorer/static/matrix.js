import { button, choice, h, keys, redraw, toggle } from "./dom.js";
import { count, percent, wilson } from "./numbers.js";
import { withCells } from "./selection.js";

const MODES = { counts: "images", by_true: "% of true class", by_predicted: "% of predicted class" };
const SHOWN = 24;

/** Counts by [true][predicted] from the header's list of cells. */
export function countsOf({ classes, cells }) {
  const counts = classes.map(() => new Float64Array(classes.length));
  for (let k = 0; k < cells.length; k += 3) counts[cells[k]][cells[k + 1]] = cells[k + 2];
  return counts;
}

/** What a cell means, in words, with its rate and 95 % interval. */
export function describeCell(classes, counts, t, p) {
  const rows = counts[t].reduce((sum, value) => sum + value, 0);
  const what = t === p ? `${classes[t]} rightly recognised` : `${classes[t]} taken for ${classes[p]}`;
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

export function matrixView({ store, header }) {
  const { classes } = header;
  const counts = countsOf(header);
  const sums = { by_true: counts.map((row) => row.reduce((a, b) => a + b, 0)), by_predicted: classes.map((_, p) => counts.reduce((sum, row) => sum + row[p], 0)) };
  const many = classes.length > SHOWN;
  const plain = classes.map((_, k) => k);
  let mode = "counts";
  let sorting = many ? "similar" : "plain";
  let shown = [];
  let buttons = [];
  let heads = { row: [], col: [] };
  let drag = null;

  const bar = h("div", { className: "wb-bar", role: "group", "aria-label": "What the cells show" });
  const grid = h("table", { className: "wb-matrix-grid" });
  const overview = h("canvas", { className: "wb-overview", tabIndex: 0, role: "img" });
  const hover = h("div", { className: "wb-hover wb-note", "aria-live": "polite" });
  const node = h("div", { className: "wb-matrix" }, bar, many ? overview : null, h("div", { className: "wb-scroll" }, grid), hover);

  const value = (t, p) => (mode === "counts" ? counts[t][p] : sums[mode][mode === "by_true" ? t : p] ? counts[t][p] / sums[mode][mode === "by_true" ? t : p] : 0);
  const order = () => (sorting === "similar" ? header.order : sorting === "errors" ? mostConfused(counts, plain, classes.length).sort((a, b) => errorsOf(b) - errorsOf(a)) : plain);
  const errorsOf = (t) => sums.by_true[t] - counts[t][t];

  function drawBar() {
    const sorts = [["plain", "as given"], ["similar", "by similarity"], ["errors", "by errors"]];
    redraw(
      bar,
      Object.entries(MODES).map(([key, text]) =>
        toggle(text, mode === key, () => {
          mode = key;
          draw();
        }),
      ),
      choice("Classes", sorts, sorting, (next) => {
        sorting = next;
        shown = [];
        draw();
      }),
    );
    if (many) bar.append(button("Most confused", () => zoom(mostConfused(counts, order(), SHOWN))));
  }

  function zoom(next) {
    shown = next;
    drawGrid();
    mark();
    drawOverview();
  }

  function text(t, p) {
    if (mode !== "counts") return (100 * value(t, p)).toFixed(1);
    return counts[t][p] >= 10000 ? `${Math.round(counts[t][p] / 1000)}k` : String(counts[t][p]);
  }

  function drawGrid() {
    if (!shown.length) shown = many ? mostConfused(counts, order(), SHOWN) : order();
    const largest = Math.max(0, ...shown.flatMap((t) => shown.filter((p) => p !== t).map((p) => value(t, p))));
    buttons = [];
    heads = { row: [], col: [] };
    const heading = (k, scope, cell) => {
      const name = scope === "row" ? `all of true class ${classes[k]}` : `all taken for ${classes[k]}`;
      heads[scope].push(button(classes[k], (event) => pick([cell], event), { tabIndex: -1, "aria-label": name }));
      return h("th", { scope, title: classes[k] }, heads[scope].at(-1));
    };
    const rows = shown.map((t) => {
      const line = shown.map((p) => {
        const cell = button(text(t, p), null, { "aria-label": describeCell(classes, counts, t, p), tabIndex: -1, dataset: { true: t, predicted: p } });
        if (t === p) cell.className = "wb-right";
        else {
          const share = strength(value(t, p), largest);
          cell.style.background = `rgba(181, 64, 58, ${share})`;
          if (share > 0.75) cell.style.color = "#fff";
          if (!counts[t][p]) cell.className = "wb-zero";
        }
        buttons.push(cell);
        return h("td", {}, cell);
      });
      return h("tr", {}, heading(t, "row", [t, -1]), line);
    });
    if (buttons.length) buttons[0].tabIndex = 0;
    const longest = Math.max(...shown.map((k) => classes[k].length));
    grid.classList.toggle("wb-upright", longest <= 3); // names that short fit above their column as they are
    redraw(grid, h("thead", {}, h("tr", {}, h("th", { className: "wb-corner" }, h("span", { textContent: "true ↓ predicted →" })), shown.map((p) => heading(p, "col", [-1, p])))), h("tbody", {}, rows));
  }

  function drawOverview() {
    if (!many) return;
    const all = order();
    const side = all.length;
    overview.width = overview.height = side;
    const context = overview.getContext("2d");
    const pixels = context.createImageData(side, side);
    const place = new Uint32Array(side);
    all.forEach((k, at) => (place[k] = at));
    let largest = 0;
    for (let k = 0; k < header.cells.length; k += 3) if (header.cells[k] !== header.cells[k + 1]) largest = Math.max(largest, header.cells[k + 2]);
    for (let k = 0; k < header.cells.length; k += 3) {
      const [t, p, n] = header.cells.slice(k, k + 3);
      const at = 4 * (place[t] * side + place[p]);
      const colour = t === p ? [140, 140, 140, 90] : [181, 64, 58, 60 + 195 * strength(n, largest)];
      colour.forEach((part, c) => (pixels.data[at + c] = part));
    }
    context.putImageData(pixels, 0, 0);
    overview.setAttribute("aria-label", `All ${side} classes; click to look closer, Enter for the most confused ones`);
  }

  function pick(cells, event) {
    store.set(withCells(store.selection, cells, event.ctrlKey || event.metaKey || event.shiftKey));
  }

  function mark() {
    const step = store.selection.steps.find(({ kind }) => kind === "cells");
    const chosen = new Set((step?.cells ?? []).map(([t, p]) => `${t},${p}`));
    for (const cell of buttons) {
      const { true: t, predicted: p } = cell.dataset;
      cell.setAttribute("aria-pressed", String(chosen.has(`${t},${p}`) || chosen.has(`${t},-1`) || chosen.has(`-1,${p}`)));
    }
  }

  function say(place) {
    hover.textContent = place ? describeCell(classes, counts, ...place) : "Rows: true class. Columns: predicted class. Click a cell, a class's name, or drag over several cells.";
  }

  const placeOf = (event) => {
    const cell = event.target.closest?.("td button");
    return cell ? [Number(cell.dataset.true), Number(cell.dataset.predicted)] : null;
  };

  /** The cells of the rectangle between two, as they are shown. */
  function between([t0, p0], [t1, p1]) {
    const [rows, columns] = [[t0, t1], [p0, p1]].map((ends) => {
      const [a, b] = ends.map((k) => shown.indexOf(k)).sort((x, y) => x - y);
      return shown.slice(a, b + 1);
    });
    return rows.flatMap((t) => columns.map((p) => [t, p]));
  }

  function outline(cells) {
    const inside = new Set(cells.map(String));
    for (const cell of buttons) cell.classList.toggle("wb-dragged", inside.has(`${cell.dataset.true},${cell.dataset.predicted}`));
  }

  grid.addEventListener("pointerdown", (event) => {
    const place = placeOf(event);
    if (place && event.button === 0) drag = { from: place, to: place };
  });
  grid.addEventListener("pointerover", (event) => {
    const place = placeOf(event);
    if (place) say(place);
    if (!drag || !place) return;
    drag.to = place;
    outline(between(drag.from, drag.to));
  });
  const release = (event) => {
    if (!drag) return;
    const { from, to } = drag;
    drag = null;
    outline([]);
    if (String(from) !== String(to)) pick(between(from, to).filter(([t, p]) => t !== p), event);
  };
  document.addEventListener("pointerup", release);
  grid.addEventListener("click", (event) => {
    const place = placeOf(event);
    if (place) pick([place], event);
  });
  grid.addEventListener("pointerleave", () => say(null));
  grid.addEventListener("focusin", (event) => {
    const place = placeOf(event);
    if (place) say(place);
  });
  const move = (down, across) => (event) => {
    const n = shown.length;
    const [at, atRow, atColumn] = [buttons, heads.row, heads.col].map((nodes) => nodes.indexOf(event.target));
    if (Math.max(at, atRow, atColumn) < 0) return false;
    // the headings are the line above the first and the column before it
    const from = at >= 0 ? [Math.floor(at / n), at % n] : atRow >= 0 ? [atRow, -1] : [-1, atColumn];
    const [row, column] = [from[0] + down, from[1] + across].map((k) => Math.min(n - 1, Math.max(-1, k)));
    if (row < 0 && column < 0) return true;
    const target = row < 0 ? heads.col[column] : column < 0 ? heads.row[row] : buttons[row * n + column];
    event.target.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
    return true;
  };
  keys(grid, { ArrowUp: move(-1, 0), ArrowDown: move(1, 0), ArrowLeft: move(0, -1), ArrowRight: move(0, 1) });
  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect();
    const all = order();
    const near = (share) => Math.min(Math.max(0, all.length - SHOWN), Math.max(0, Math.round(share * all.length - SHOWN / 2)));
    const [row, column] = [near((event.clientY - box.top) / box.height), near((event.clientX - box.left) / box.width)];
    const both = new Set([...all.slice(row, row + SHOWN / 2 + 1), ...all.slice(column, column + SHOWN / 2 + 1)]);
    zoom(all.filter((k) => both.has(k)));
  });
  keys(overview, { Enter: () => zoom(mostConfused(counts, order(), SHOWN)) });

  function draw() {
    drawBar();
    drawGrid();
    drawOverview();
    mark();
    say(null);
  }
  draw();
  return {
    node,
    update: (changed) => changed.has("steps") && mark(),
    close: () => document.removeEventListener("pointerup", release),
  };
}
