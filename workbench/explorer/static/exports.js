import { csvOf } from "./csv.js";
import { button, download, h, menu } from "./dom.js";

/** @import { Context } from "./types.d.ts" */

const FORMATS = ["png", "svg", "pdf"];
const FIGURES = [
  ["current", "this view"],
  ["gallery", "gallery"],
  ["detail", "images × methods × targets"],
];

/** Figures, rows and code to take along. `viewOf` names the view in sight. */
class ExportMenu {
  /** @param {Context} context */
  constructor({ store, source }, viewOf) {
    this.store = store;
    this.source = source;
    this.viewOf = viewOf;
    this.status = h("span", { className: "wb-note", role: "status" });
    this.text = h("textarea", {
      className: "wb-code",
      readOnly: true,
      hidden: true,
      rows: 8,
      "aria-label": "Code for this view",
    });
    this.text.onkeydown = (event) => event.stopPropagation();
    this.menu = menu("Export", this.items());
    this.node = h("div", { className: "wb-export" }, this.menu.node, this.status);
  }

  items() {
    const rows = () => this.file({ name: "rows.csv", bytes: csvOf(this.store) });
    const items = [this.heading("rows"), this.item("Selected rows (CSV)", "Writing the rows", rows)];
    for (const [view, name] of this.source.figure ? FIGURES : [])
      items.push(
        this.heading(`figure: ${name}`),
        h(
          "span",
          { className: "wb-group" },
          FORMATS.map((format) => this.figure(view, format)),
        ),
      );
    const table = (what) => async () => this.file(await this.source.table(what));
    if (this.source.table) items.push(this.heading("decisions"), this.item("Tags and notes (CSV)", "Writing", table("decisions")));
    if (this.source.can.fixes) items.push(this.item("Fixes for training (JSON)", "Writing", table("fixes")));
    if (this.source.figure) {
      const [studio, parquet] = ["label_studio", "parquet"].map(table);
      items.push(
        this.heading("selected rows for other tools"),
        this.item("Label Studio tasks (JSON)", "Writing", studio),
        this.item("Hugging Face datasets (Parquet with images)", "Writing", parquet),
      );
    }
    if (this.source.code) items.push(this.heading("code"), this.item("Code for this view", "Writing", () => this.code()));
    return items;
  }

  heading(textContent) {
    return h("h6", { textContent });
  }

  figure(view, format) {
    const draw = async () => this.file(await this.source.figure(view === "current" ? this.viewOf() : view, format));
    return this.item(format.toUpperCase(), "Drawing", draw);
  }

  /** A button that does some work, and says how it went. */
  item(text, words, work) {
    return button(text, async () => {
      this.menu.list.hidePopover();
      this.status.textContent = `${words} …`;
      try {
        this.status.textContent = (await work()) ?? "";
      } catch (error) {
        this.status.textContent = error.message;
      }
    });
  }

  file({ name, bytes }) {
    download(name, bytes);
    return `${name} downloaded`;
  }

  async code() {
    this.text.value = await this.source.code();
    this.text.hidden = false;
    this.text.select();
    return "Copy it into a cell.";
  }
}

export const exportMenu = (context, viewOf) => new ExportMenu(context, viewOf);
