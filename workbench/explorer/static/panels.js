import { button, h, redraw } from "./dom.js";
import { count, counted, percent } from "./numbers.js";
import { withCells, withStep } from "./selection.js";

/** A line with a name, a bar with its interval, and a note; choosing it narrows the selection. */
function line({ name, value, low, high, largest, note, on, choose }) {
  const at = (share) => `${(100 * share) / largest}%`;
  const known = value !== null;
  const bar = h("span", { className: "wb-rate" }, known ? [h("i", { style: { width: at(value) } }), h("b", { style: { left: at(low), width: at(high - low) } })] : []);
  const said = known ? `${name}: ${percent(value)}, 95 % interval ${percent(low)} to ${percent(high)}, ${note}` : `${name}: ${note}`;
  return h(
    "button",
    { type: "button", className: "wb-line", title: said, "aria-label": said, "aria-pressed": String(on), onclick: choose },
    h("span", { textContent: name }),
    bar,
    h("span", { textContent: known ? percent(value) : "–" }),
    h("span", { className: "wb-note", textContent: note }),
  );
}

const has = (store, wanted) => store.selection.steps.some((step) => JSON.stringify(step) === JSON.stringify(wanted));

export function classesView({ store, header }) {
  const node = h("div", { className: "wb-lines" });
  function draw() {
    const largest = Math.max(0.01, ...header.class_report.map(({ rate, high }) => (rate === null ? 0 : high)));
    const order = header.classes.map((_, k) => k).sort((a, b) => (header.class_report[b].rate ?? -1) - (header.class_report[a].rate ?? -1));
    redraw(
      node,
      h("p", { className: "wb-note", textContent: "Error rate of each true class with its 95 % interval. Click one to see its errors." }),
      ...order.map((k) => {
        const { support, errors, rate, low, high } = header.class_report[k];
        return line({
          name: header.classes[k],
          ...{ value: rate, low, high, largest },
          note: `${count(errors)} of ${count(support)}`,
          on: has(store, { kind: "cells", cells: [[k, -1]] }),
          choose: (event) => store.set(withCells(store.selection, [[k, -1]], event.ctrlKey || event.metaKey || event.shiftKey)),
        });
      }),
    );
  }
  draw();
  return { node, update: (changed) => changed.has("steps") && draw() };
}

export function calibrationView({ store, header }) {
  const { edges, counts, confidence, accuracy, low, high, ece } = header.reliability;
  const [size, pad] = [320, 40];
  const x = (share) => pad + share * (size - pad - 24);
  const y = (share) => size - pad - share * (size - pad - 8);
  const svg = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    if (text) made.textContent = text;
    return made;
  };
  const node = h("div", { className: "wb-calibration" });

  function draw() {
    const plot = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "group", "aria-label": "Accuracy against confidence" });
    plot.append(svg("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "wb-diagonal" }));
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      plot.append(svg("text", { x: x(share), y: size - pad + 18, "text-anchor": "middle" }, `${100 * share} %`));
      plot.append(svg("text", { x: pad - 6, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}`));
    }
    plot.append(svg("text", { x: x(0.5), y: size - 4, "text-anchor": "middle" }, "confidence"));
    plot.append(svg("text", { x: 10, y: y(0.5), "text-anchor": "middle", transform: `rotate(-90 10 ${y(0.5)})` }, "share right (%)"));
    counts.forEach((rows, k) => {
      if (!rows) return;
      const last = k === counts.length - 1;
      const step = { kind: "range", column: "confidence", low: edges[k], high: last ? null : edges[k + 1] };
      const choose = () => store.set(withStep(store.selection, step));
      const said = `confidence ${percent(edges[k])} to ${percent(edges[k + 1])}: ${percent(accuracy[k])} right (95 % interval ${percent(low[k])} to ${percent(high[k])}), ${counted(rows, "image")}`;
      const bin = svg("g", { class: "wb-bin", tabindex: 0, role: "button", "aria-label": said, "aria-pressed": has(store, step) });
      bin.append(svg("title", {}, said));
      bin.append(svg("rect", { x: x(edges[k]), y: y(1), width: x(edges[k + 1]) - x(edges[k]), height: y(0) - y(1), class: "wb-hit" }));
      bin.append(svg("line", { x1: x(confidence[k]), x2: x(confidence[k]), y1: y(low[k]), y2: y(high[k]), class: "wb-whisker" }));
      bin.append(svg("circle", { cx: x(confidence[k]), cy: y(accuracy[k]), r: 3 + 5 * Math.sqrt(rows / Math.max(...counts)) }));
      bin.addEventListener("click", choose);
      bin.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), choose()));
      plot.append(bin);
    });
    redraw(
      node,
      h("p", { className: "wb-note", textContent: `Expected calibration error ${percent(ece[0])} (95 % interval ${percent(ece[1])} to ${percent(ece[2])}), 15 bins. Below the diagonal the model is surer than it is right. Click a bin to see its images.` }),
      plot,
    );
  }
  draw();
  return { node, update: (changed) => changed.has("steps") && draw() };
}

export function causesView({ store, source }) {
  const node = h("div", { className: "wb-lines" });
  let summary = null;
  let asked = false;

  async function load() {
    asked = true;
    node.replaceChildren(h("p", { className: "wb-note", textContent: "Looking for the cause of every error …" }));
    try {
      const found = await source.causes((words) => (node.firstChild.textContent = words));
      summary = found.summary;
      takeCauses(store, found);
    } catch (error) {
      asked = false;
      node.replaceChildren(h("p", { className: "wb-problem", role: "alert", textContent: error.message }), button("Try again", load));
      return;
    }
    draw();
  }

  function draw() {
    if (!summary) return;
    const largest = Math.max(0.01, ...summary.map(({ high }) => high));
    redraw(
      node,
      h("p", { className: "wb-note", textContent: "One verdict for every error, as a share of all errors. They are rules of thumb; each image says its reason." }),
      ...summary.flatMap(({ verdict, errors, share, low, high, action }) => {
        const step = { kind: "any", column: "cause", values: [verdict] };
        return [
          line({ name: verdict, value: share, ...{ low, high, largest }, note: counted(errors, "error"), on: has(store, step), choose: () => store.set(withStep({ ...store.selection, wrong_only: true }, step)) }),
          h("div", { className: "wb-note wb-action", textContent: `→ ${action}` }),
        ];
      }),
    );
  }
  return {
    node,
    shown: () => !asked && load(),
    update: (changed) => changed.has("steps") && draw(),
  };
}

export function compareView({ store, header }) {
  const node = h("div", { className: "wb-lines" });
  const found = header.comparison;
  function draw() {
    const outcomes = [
      ["fixed", found.fixed, "wrong before, right after"],
      ["broken", found.broken, "right before, wrong after"],
      ["both wrong", found.both_wrong, `${count(found.both_wrong_alike)} with the same wrong class`],
      ["both right", found.both_right, ""],
    ];
    const largest = Math.max(1, ...outcomes.slice(0, 3).map(([, rows]) => rows));
    const sign = found.difference > 0 ? "+" : "";
    const p = found.p_value < 0.001 ? "p < 0.001" : `p = ${found.p_value.toFixed(3)}`;
    redraw(
      node,
      h("p", {}, h("b", { textContent: header.name }), " before, ", h("b", { textContent: found.name }), " after"),
      h("p", { className: "wb-note", textContent: `Accuracy ${sign}${(100 * found.difference).toFixed(2)} points (95 % interval ${(100 * found.low).toFixed(2)} to ${(100 * found.high).toFixed(2)}), exact McNemar test ${p}. ${percent(found.churn)} of the images get another class.` }),
      ...outcomes.map(([name, rows, note]) => {
        const step = { kind: "any", column: "outcome", values: [name] };
        const share = Math.min(1, rows / largest);
        return h(
          "button",
          { type: "button", className: "wb-line", "aria-pressed": String(has(store, step)), "aria-label": `${name}: ${counted(rows, "image")}, ${note}`, onclick: () => store.set({ ...withStep(store.selection, step), wrong_only: false }) },
          h("span", { textContent: name }),
          h("span", { className: "wb-rate" }, name === "both right" ? [] : h("i", { style: { width: `${100 * share}%` } })),
          h("span", { textContent: count(rows) }),
          h("span", { className: "wb-note", textContent: note }),
        );
      }),
    );
  }
  draw();
  return { node, update: (changed) => changed.has("steps") && draw() };
}

/** The causes' evidence and column, for all views. */
export function takeCauses(store, { evidence, column }) {
  store.evidence = evidence;
  if (column) store.addColumn("cause", column);
}

/** The selected rows as a table: virtual, so that a million rows scroll as well as ten. */
export function rowsView({ store }) {
  const { table } = store;
  const height = 28;
  const head = h("div", { className: "wb-row wb-head", role: "row" });
  const body = h("div", { className: "wb-space", role: "rowgroup" });
  const scroller = h("div", { className: "wb-rows", tabIndex: 0, role: "grid", "aria-label": "Selected rows", "aria-readonly": "true" }, head, body);
  let frame = 0;

  const names = () => ["index", "label", "predicted", "confidence", "loss", "margin", "entropy", "cause", "outcome", ...Object.keys(table.columns)].filter((name, k, all) => table.columns[name] && all.indexOf(name) === k && name !== "correct");

  function drawHead() {
    const { order, descending } = store.selection;
    redraw(
      head,
      ...names().map((name) => {
        const on = name === order;
        const turn = () => store.set(on ? { descending: !descending } : { order: name, descending: true });
        const title = table.columns[name].title;
        return h("span", { role: "columnheader", className: table.columns[name].kind === "number" ? "wb-number" : "", "aria-sort": on ? (descending ? "descending" : "ascending") : "none" }, button(`${title}${on ? (descending ? " ▾" : " ▴") : ""}`, turn, { title }));
      }),
    );
  }

  function draw() {
    const columns = names();
    const { rows, selection } = store;
    body.style.height = `${rows.length * height}px`;
    scroller.setAttribute("aria-rowcount", rows.length + 1);
    const first = Math.max(0, Math.floor(scroller.scrollTop / height) - 5);
    const last = Math.min(rows.length, first + Math.ceil(scroller.clientHeight / height) + 10);
    const lines = [];
    for (let k = first; k < last; k++) {
      const id = table.id(rows[k]);
      lines.push(
        h(
          "div",
          { className: "wb-row", role: "row", id: `wb-row-${id}`, tabIndex: -1, "aria-rowindex": k + 2, "aria-selected": String(id === selection.selected), dataset: { row: id }, style: { top: `${k * height}px` } },
          columns.map((name) => h("span", { role: "gridcell", className: table.columns[name].kind === "number" ? "wb-number" : "", textContent: table.text(name, rows[k]), title: table.text(name, rows[k]) })),
        ),
      );
    }
    body.replaceChildren(...lines);
    if (selection.selected >= 0) scroller.setAttribute("aria-activedescendant", `wb-row-${selection.selected}`);
    else scroller.removeAttribute("aria-activedescendant");
  }

  body.addEventListener("click", (event) => {
    const row = event.target.closest(".wb-row");
    if (row) store.set({ selected: Number(row.dataset.row), picked: [] });
  });
  scroller.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.target.closest("button")) return;
    event.preventDefault();
    event.stopPropagation();
    const at = store.rows.indexOf(table.position(store.selection.selected));
    const next = Math.min(store.rows.length - 1, Math.max(0, at + step));
    if (!store.rows.length) return;
    store.set({ selected: table.id(store.rows[next]), picked: [] });
    scroller.scrollTop = Math.min(next * height, Math.max(scroller.scrollTop, (next + 2) * height - scroller.clientHeight));
  });
  scroller.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  });
  drawHead();
  const drawAll = () => {
    drawHead();
    draw();
  };
  return {
    node: scroller,
    shown: drawAll,
    update(changed) {
      if (!scroller.isConnected) return;
      if (changed.has("rows")) scroller.scrollTop = 0;
      if (["rows", "columns", "selected", "order", "descending"].some((name) => changed.has(name))) drawAll();
    },
  };
}
