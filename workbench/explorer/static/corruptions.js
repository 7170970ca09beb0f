import { choice, h, redraw, svg } from "./dom.js";
import { count, percent } from "./numbers.js";

/** @import { Context } from "./types.d.ts" */

const [PLOT_WIDTH, PLOT_HEIGHT, LEFT, BOTTOM, TOP] = [150, 104, 34, 18, 6];
const STRENGTHS = 5;
const across = (strength) => LEFT + (strength / STRENGTHS) * (PLOT_WIDTH - LEFT - 8);

/** Where the axis of accuracy begins: the tenth below the lowest bound of what is drawn. */
export function lowestOf(curves) {
  const bounds = curves.flatMap((points) => points.map(([, low]) => low));
  return Math.max(0, Math.floor(10 * Math.min(...bounds) + 1e-9) / 10);
}

/** Accuracy, lower and upper bound of a group: first of the images as they are, then at each strength of a corruption. */
export const curveOf = ({ clean, curves }, group, name) => [clean[group], ...curves[group][name]];

/** What a curve says to those who can't see it. */
export function curveWords(name, points) {
  const [first, ...rest] = points.map(([value]) => value);
  return `${name}: accuracy ${percent(first)} without it, ${rest.map(percent).join(", ")} at strengths 1 to ${rest.length}`;
}

function plotOf(name, points, behind, lowest) {
  const y = (value) => TOP + (1 - (value - lowest) / (1 - lowest)) * (PLOT_HEIGHT - TOP - BOTTOM);
  const path = (values) => values.map(([value], k) => `${across(k)},${y(value)}`).join(" ");
  const band = [...points.map(([, low], k) => `${across(k)},${y(low)}`), ...points.map(([, , high], k) => `${across(k)},${y(high)}`).reverse()];
  const said = curveWords(name, points);
  const plot = svg("svg", { viewBox: `0 0 ${PLOT_WIDTH} ${PLOT_HEIGHT}`, role: "img", "aria-label": said });
  plot.append(svg("title", {}, said));
  for (const value of [lowest, (1 + lowest) / 2, 1]) {
    plot.append(
      svg("line", { x1: across(0), x2: across(STRENGTHS), y1: y(value), y2: y(value), class: "wb-gridline" }),
      svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, `${Math.round(100 * value)}`),
    );
  }
  for (let strength = 0; strength <= STRENGTHS; strength++)
    plot.append(svg("text", { x: across(strength), y: PLOT_HEIGHT - 4, "text-anchor": "middle" }, `${strength}`));
  plot.append(svg("polygon", { points: band.join(" "), class: "wb-band" }));
  if (behind) plot.append(svg("polyline", { points: path(behind), class: "wb-behind" }));
  plot.append(svg("polyline", { points: path(points), class: "wb-curve" }));
  return h("figure", { className: "wb-corruption" }, h("figcaption", { textContent: name }), plot);
}

/**
 * Accuracy under each corruption, of all images, of a class or of a group; what else was measured of changed images.
 * @param {Context} context
 */
export function corruptionsView({ header }) {
  const measured = header.robustness;
  const node = h("div", { className: "wb-corruptions" });
  let group = 0; // all images

  function draw() {
    const said = h("ul", { className: "wb-sentences" }, measured.sentences.map((line) => h("li", { textContent: line })));
    if (!measured.names.length) return redraw(node, said);
    const options = measured.groups.map(({ name, rows }, k) => [k, `${k ? name : "all images"} (${count(rows)})`]);
    const pick = choice("accuracy of", options, group, (chosen) => ((group = Number(chosen)), draw()));
    const points = measured.names.map((name) => curveOf(measured, group, name));
    const behind = measured.names.map((name) => (group ? curveOf(measured, 0, name) : null));
    const lowest = lowestOf([...points, ...behind.filter(Boolean)]);
    const words =
      "Accuracy in per cent with its 95 % interval at five strengths of each corruption; strength 0 is the images as they are.";
    const more = group ? " The thin line is that of all images." : "";
    const plots = measured.names.map((name, k) => plotOf(name, points[k], behind[k], lowest));
    redraw(node, h("div", { className: "wb-bar" }, pick), h("p", { className: "wb-note", textContent: words + more }), h("div", { className: "wb-plots" }, plots), said);
  }
  draw();
  return { node, update() {} };
}
