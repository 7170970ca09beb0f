// a spreadsheet must not read a word as a formula
const plain = (text) => (/^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
const quoted = (text) => (/[",\n\r]/.test(plain(text)) ? `"${plain(text).replaceAll('"', '""')}"` : plain(text));

/** The rows of the selection as CSV, with what stands in the table. */
export function csvOf({ table, rows, decisions }) {
  const names = Object.keys(table.columns);
  const cell = (name, k) => {
    const { kind, categories, values } = table.columns[name];
    return quoted(kind === "number" ? String(Number.isNaN(values[k]) ? "" : values[k]) : categories[values[k]]);
  };
  const tags = (k) => quoted((decisions.get(table.id(k))?.tags ?? []).join("; "));
  const lines = [[...names.map(quoted), "tags"].join(",")];
  for (const k of rows) lines.push([...names.map((name) => cell(name, k)), tags(k)].join(","));
  return `${lines.join("\r\n")}\r\n`;
}
