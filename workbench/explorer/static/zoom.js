const [UNZOOMED, NEAREST_ZOOM, STEP] = [1, 16, 1.5];

/** The view {scale, x, y} (x and y: shares of the side, of the corner) zoomed by a factor around a point (shares of the side). */
export function zoomed({ scale, x, y }, factor, [px, py]) {
  const next = Math.min(NEAREST_ZOOM, Math.max(UNZOOMED, scale * factor));
  // the point of the picture under the pointer stays under it
  return within({ scale: next, x: px - ((px - x) * next) / scale, y: py - ((py - y) * next) / scale });
}

/** The view moved so that the picture covers its frame. */
export function within({ scale, x, y }) {
  const held = (value) => Math.min(0, Math.max(1 - scale, value));
  return { scale, x: held(x), y: held(y) };
}

/** Zoom and pan of the pictures within a node, all alike: control and wheel, a double click, or drag. */
export class Zoom {
  constructor(node) {
    this.node = node;
    this.from = null; // where a drag began, and the view then
    this.reset();
    node.addEventListener("wheel", (event) => {
      if (!event.ctrlKey || !this.frame(event)) return; // a plain wheel scrolls the inspector
      event.preventDefault();
      this.by(event.deltaY < 0 ? STEP : 1 / STEP, this.place(event));
    });
    node.addEventListener("dblclick", (event) => {
      if (!this.frame(event)) return;
      if (this.view.scale > UNZOOMED) this.reset();
      else this.by(STEP ** 2, this.place(event));
    });
    node.addEventListener("pointerdown", (event) => {
      if (!this.frame(event) || this.view.scale === UNZOOMED) return;
      event.preventDefault();
      this.from = { place: this.place(event), view: this.view, frame: this.frame(event) };
      node.setPointerCapture(event.pointerId);
    });
    node.addEventListener("pointermove", (event) => {
      if (!this.from) return;
      const [px, py] = this.place(event, this.from.frame);
      const { place, view } = this.from;
      this.set(within({ ...view, x: view.x + px - place[0], y: view.y + py - place[1] }));
    });
    for (const name of ["pointerup", "pointercancel"]) node.addEventListener(name, () => (this.from = null));
  }

  /** The frame of the picture that an event is on. */
  frame(event) {
    return event.target.closest?.(".wb-zoom");
  }

  /** The place of an event in its frame, in shares of the side. */
  place(event, frame = this.frame(event)) {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  /** Zoom in or out by some steps, around the middle. */
  step(steps) {
    this.by(STEP ** steps, [0.5, 0.5]);
  }

  by(factor, place) {
    this.set(zoomed(this.view, factor, place));
  }

  reset() {
    this.set({ scale: UNZOOMED, x: 0, y: 0 });
  }

  set(view) {
    this.view = view;
    const { scale, x, y } = view;
    const named = { "--zoom": scale, "--zoom-x": `${100 * x}%`, "--zoom-y": `${100 * y}%` };
    for (const [name, value] of Object.entries(named)) this.node.style.setProperty(name, String(value));
    this.node.classList.toggle("wb-zoomed", scale > UNZOOMED);
  }
}
