/** Why one would look at images in an order: its column, whether the highest come first, and the reason. */
const REASONS = /** @type {[string, boolean, string][]} */ ([
  ["loss", true, "most costly first"],
  ["confidence", true, "surest first"],
  ["confidence", false, "least sure first"],
  ["entropy", true, "most undecided first"],
  ["votes_entropy", true, "most disputed among people first"],
  ["votes_for_label", false, "label least shared by people first"],
  ["nearest_similarity", false, "least like the train images first"],
  ["index", false, "as in the data"],
]);

const keyOf = (column, descending) => `${column} ${descending ? "down" : "up"}`;

/** The choices of an order as [value, text]: reasons, then every column of numbers; and which of them is chosen. */
export function orders(table, { order, descending }) {
  const { columns } = table;
  const reasons = REASONS.filter(([name]) => columns[name]).map(([name, down, text]) => [keyOf(name, down), text]);
  const numbers = table.names("number").map((name) => [name, columns[name].title]);
  const key = keyOf(order, descending);
  return { choices: [...reasons, ...numbers], chosen: reasons.some(([one]) => one === key) ? key : order };
}

/** What a choice sets: of a reason column and direction, of a column only that. */
export function orderOf(value) {
  const found = REASONS.find(([name, down]) => keyOf(name, down) === value);
  return found ? { order: found[0], descending: found[1] } : { order: value };
}
