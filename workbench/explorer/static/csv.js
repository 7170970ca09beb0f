// a spreadsheet must not read a word as a formula
const plain = (text) => (/^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
/** A cell of a CSV. */
export const quoted = (text) => (/[",\n\r]/.test(plain(text)) ? `"${plain(text).replaceAll('"', '""')}"` : plain(text));

/** The rows of the selection as CSV, with what stands in the table. */
export function csvOf({ table, rows, decisions }) {
  const names = Object.keys(table.columns);
  const cell = (name, k) => {
    const { kind, categories, values } = table.columns[name];
    return quoted(kind === "number" ? String(Number.isNaN(values[k]) ? "" : values[k]) : categories[values[k]]);
  };
  const classes = table.columns.label.categories;
  const decided = (k) => {
    const { tags, label, note } = decisions.get(table.id(k)) ?? { tags: [], label: null, note: "" };
    return [tags.join("; "), label === null ? "" : classes[label], note].map(quoted);
  };
  const lines = [[...names.map(quoted), "tags", "corrected_label", "note"].join(",")];
  for (const k of rows) lines.push([...names.map((name) => cell(name, k)), ...decided(k)].join(","));
  return `${lines.join("\r\n")}\r\n`;
}
