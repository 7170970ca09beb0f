/** An element with properties (or attributes, where a name has a dash or is `role`) and children. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else if (name === "style" || name === "dataset") Object.assign(node[name], value);
    else node[name] = value;
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element of a drawing with attributes and a text. */
export function svg(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  if (text) made.textContent = text;
  return made;
}

export const button = (text, onclick, properties = {}) =>
  h("button", { type: "button", textContent: text, onclick, ...properties });

/** A button that shows whether it is on. */
export const toggle = (text, on, onclick, properties = {}) =>
  button(text, onclick, { "aria-pressed": String(Boolean(on)), ...properties });

/** A choice among [value, text] pairs, with a label or at least a name for screen readers. */
export function choice(label, options, value, onchange, name = null) {
  const select = h(
    "select",
    { "aria-label": name },
    options.map(([key, text]) => h("option", { value: key, textContent: text })),
  );
  select.value = value;
  select.onchange = () => onchange(select.value);
  return h("label", { className: "wb-choice" }, h("span", { textContent: label }), select);
}

const FOCUSABLE = "a, button, select, input, textarea, summary, [tabindex]";

/** Replace what stands in a node; what had the focus gives it to what stands in its place. */
export function redraw(node, ...children) {
  const place = [...node.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  if (place >= 0) [...node.querySelectorAll(FOCUSABLE)][place]?.focus({ preventScroll: true });
}

const MENU_GAP = 3; // pixels between a menu's button and its list
const LONGEST_MENU = 420;

/** Where a menu's list is in the window: below its button, or above it where there is more room. */
function placeMenu(list, opener) {
  const { left, top, bottom } = opener.getBoundingClientRect();
  const [above, below] = [top - 2 * MENU_GAP, window.innerHeight - bottom - 2 * MENU_GAP];
  const under = list.scrollHeight <= below || below >= above;
  const across = document.documentElement.clientWidth - list.offsetWidth - MENU_GAP;
  list.style.maxHeight = `${Math.min(LONGEST_MENU, under ? below : above)}px`;
  list.style.left = `${Math.max(MENU_GAP, Math.min(left, across))}px`;
  list.style.top = `${under ? bottom + MENU_GAP : top - MENU_GAP - list.offsetHeight}px`;
}

/** A button that opens a list over everything else, so that no box around it cuts it off; a click elsewhere closes it. */
export function menu(text, ...items) {
  const list = h("div", { popover: "auto", className: "wb-list" }, ...items);
  const opener = h("button", { type: "button", className: "wb-opener", textContent: text, popoverTargetElement: list });
  const follow = () => placeMenu(list, opener);
  list.addEventListener("toggle", ({ newState }) => {
    const listen = newState === "open" ? window.addEventListener : window.removeEventListener;
    if (newState === "open") follow();
    for (const name of ["scroll", "resize"]) listen(name, follow, true);
  });
  return { node: h("span", { className: "wb-menu" }, opener, list), list, opener };
}

/** Keys that a view takes must not reach the notebook around it. */
export function keys(node, handlers) {
  node.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const handler = handlers[event.key];
    if (!handler || handler(event) === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Offer bytes as a file. */
export function download(name, bytes, type = "application/octet-stream") {
  const link = h("a", { href: URL.createObjectURL(new Blob([bytes], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** An error as an alert, with its trace to unfold if there is one. */
export function problemOf({ message, trace }) {
  const details = trace
    ? h("details", {}, h("summary", { textContent: "What happened" }), h("pre", { textContent: trace }))
    : null;
  return h("p", { className: "wb-problem", role: "alert" }, message, details);
}
