const MODES = { counts: "images", by_true: "% of true class", by_predicted: "% of predicted class" };
const WARM = [181, 64, 58];

const text = (mode, value) => (mode === "counts" ? String(value) : (100 * value).toFixed(1));
const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** What a cell means, in words, with its rate and 95 % interval. */
export function describe(state, t, p) {
  const { classes, counts, by_true, low, high } = state;
  const what = t === p ? `${classes[t]} rightly recognised` : `${classes[t]} taken for ${classes[p]}`;
  const range = `${percent(low[t][p])} to ${percent(high[t][p])}`;
  return `${counts[t][p]} × ${what}: ${percent(by_true[t][p])} of the true class (95 % interval ${range})`;
}

/** Opacity of the error colour for a share of the largest error; the root keeps small errors visible. */
export const strength = (value, largest) => (largest > 0 ? Math.sqrt(value / largest) : 0);

function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  el.classList.add("wb");
  const bar = element("div", { className: "wb-bar" });
  bar.setAttribute("role", "group");
  const table = element("table");
  const hover = element("div", { className: "wb-hover wb-note" });
  hover.setAttribute("aria-live", "polite");
  const root = element("div", { className: "wb-matrix" }, [bar, table, hover]);
  el.append(root);
  const buttons = [];

  const state = () =>
    Object.fromEntries(["classes", "counts", "by_true", "low", "high"].map((name) => [name, model.get(name)]));

  function drawBar() {
    bar.replaceChildren(
      ...Object.entries(MODES).map(([mode, label]) => {
        const button = element("button", { textContent: label, type: "button" });
        button.setAttribute("aria-pressed", model.get("mode") === mode);
        button.onclick = () => {
          model.set("mode", mode);
          model.save_changes();
        };
        return button;
      }),
    );
  }

  function say(t, p) {
    hover.textContent = t < 0 || p < 0 ? "Rows: true class. Columns: predicted class. Click a cell to see its images." : describe(state(), t, p);
  }

  function drawTable() {
    const classes = model.get("classes");
    const mode = model.get("mode");
    const values = model.get(mode);
    const [selectedTrue, selectedPredicted] = model.get("cell");
    const largest = Math.max(0, ...values.flatMap((row, t) => row.filter((_, p) => p !== t)));
    const head = element("tr", {}, [
      element("th"),
      ...classes.map((name) => element("th", { scope: "col", title: name }, [element("span", { textContent: name })])),
    ]);
    buttons.length = 0;
    const body = values.map((row, t) => {
      const cells = row.map((value, p) => {
        const button = element("button", { type: "button", textContent: text(mode, value) });
        button.dataset.true = t;
        button.dataset.predicted = p;
        button.setAttribute("aria-label", describe(state(), t, p));
        button.setAttribute("aria-pressed", t === selectedTrue && p === selectedPredicted);
        button.tabIndex = t === Math.max(0, selectedTrue) && p === Math.max(0, selectedPredicted) ? 0 : -1;
        if (t === p) button.className = "wb-right";
        else {
          const share = strength(value, largest);
          button.style.background = `rgba(${WARM}, ${share})`;
          if (share > 0.75) button.style.color = "#fff";
          if (value === 0) button.className = "wb-zero";
        }
        buttons.push(button);
        return element("td", {}, [button]);
      });
      return element("tr", {}, [element("th", { scope: "row", title: classes[t], textContent: classes[t] }), ...cells]);
    });
    table.replaceChildren(element("thead", {}, [head]), element("tbody", {}, body));
  }

  function mark() {
    const [t, p] = model.get("cell");
    for (const button of buttons) {
      button.setAttribute("aria-pressed", Number(button.dataset.true) === t && Number(button.dataset.predicted) === p);
    }
    say(t, p);
  }

  const place = (event) => {
    const button = event.target.closest("td button");
    return button ? [Number(button.dataset.true), Number(button.dataset.predicted)] : null;
  };
  table.addEventListener("click", (event) => {
    const cell = place(event);
    if (cell) model.send({ true: cell[0], predicted: cell[1] });
  });
  table.addEventListener("mouseover", (event) => {
    const cell = place(event);
    if (cell) say(...cell);
  });
  table.addEventListener("mouseleave", () => say(...model.get("cell")));
  table.addEventListener("focusin", (event) => {
    const cell = place(event);
    if (cell) say(...cell);
  });
  table.addEventListener("keydown", (event) => {
    const cell = place(event);
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    event.stopPropagation();
    const count = model.get("classes").length;
    const [t, p] = cell.map((value, axis) => Math.min(count - 1, Math.max(0, value + step[axis])));
    event.target.tabIndex = -1;
    buttons[t * count + p].tabIndex = 0;
    buttons[t * count + p].focus();
  });
  const redraw = () => {
    drawBar();
    drawTable();
  };
  model.on("change:mode", redraw);
  model.on("change:cell", mark);
  redraw();
  mark();
  return () => {
    model.off("change:mode", redraw);
    model.off("change:cell", mark);
  };
}

export default { render };
