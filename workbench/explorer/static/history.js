import { h } from "./dom.js";

const [WIDTH, HEIGHT, EDGE] = [460, 150, 30];

/** After which epochs the model was correct: as recorded, else from what it predicted. */
const correctness = ({ predicted, correct }, label) => correct ?? predicted?.map((one) => one === label) ?? [];

/** When an image was learnt and forgotten, in words. */
export function historyWords(history, classes, label) {
  const { predicted } = history;
  const correct = correctness(history, label);
  const last = correct.length - 1;
  const since = correct.lastIndexOf(false) + 1;
  if (!correct.length) return ["Whether the model was correct is not recorded"];
  if (!correct.includes(true)) return ["Never learnt", ...lastPredicted(predicted, classes)];
  const forgotten = correct.filter((value, k) => k && !value && correct[k - 1]).length;
  const times = forgotten === 1 ? "forgotten once" : forgotten ? `forgotten ${forgotten} times` : "never forgotten";
  if (correct[last]) return [`Correct from epoch ${since + 1} to the end`, times];
  return ["Misclassified at the end", times, ...lastPredicted(predicted, classes)];
}

const lastPredicted = (predicted, classes) =>
  predicted ? [`last predicted as ${classes[predicted[predicted.length - 1]]}`] : [];

/** The probability of the true class after each epoch, filled where the model was correct. */
export function historyOf(history, classes, label) {
  const probability = history.label_probability ?? history.loss.map((value) => Math.exp(-value));
  const correct = correctness(history, label);
  const x = (k) => EDGE + (k * (WIDTH - EDGE - 8)) / Math.max(1, probability.length - 1);
  const y = (value) => 8 + (1 - value) * (HEIGHT - EDGE - 8);
  const dots = probability.map(
    (value, k) => `<circle cx="${x(k)}" cy="${y(value)}" r="3.5" class="${correct[k] ? "wb-ok" : "wb-off"}"></circle>`,
  );
  const path = probability.map((value, k) => `${k ? "L" : "M"}${x(k)} ${y(value)}`).join("");
  const labels = [0, 0.5, 1].map(
    (value) => `<text x="${EDGE - 6}" y="${y(value) + 4}" text-anchor="end">${100 * value}</text>`,
  );
  const axis = `<text x="${WIDTH / 2}" y="${HEIGHT - 4}" text-anchor="middle">epoch 1 to ${probability.length}</text>`;
  const words = historyWords(history, classes, label);
  const plot = h("div", { className: "wb-history" });
  // numbers only: no word of the data goes into this markup
  plot.innerHTML = `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"><path d="${path}" class="wb-line-path"></path>${dots.join("")}${labels.join("")}${axis}</svg>`;
  plot.firstElementChild.setAttribute("aria-label", words.join(", "));
  const note = "Probability of the true class (%) after each epoch; filled where the model was correct.";
  return h(
    "div",
    {},
    h("p", { textContent: `${words.join("; ")}.` }),
    plot,
    h("p", { className: "wb-note", textContent: note }),
  );
}
