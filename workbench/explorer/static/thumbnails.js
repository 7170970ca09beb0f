/** Small pictures by row id: fetched when first needed, a few hundred at a time, and kept. */
export class Thumbnails {
  constructor(load, known = new Map(), limit = 20000) {
    this.load = load; // row ids -> promise of a Map of row id -> ImageData or null
    this.limit = limit;
    this.known = known;
    this.asked = new Set();
  }

  has(id) {
    return this.known.has(id);
  }

  /** Resolves when the pictures are there, or known to be missing. */
  async need(ids) {
    const wanted = ids.filter((id) => !this.known.has(id) && !this.asked.has(id));
    const parts = [];
    for (let first = 0; first < wanted.length; first += 256) parts.push(wanted.slice(first, first + 256));
    wanted.forEach((id) => this.asked.add(id));
    await Promise.all(
      parts.map(async (part) => {
        try {
          for (const [id, picture] of await this.load(part)) this.known.set(id, picture);
        } finally {
          part.forEach((id) => this.asked.delete(id));
        }
      }),
    );
    for (const id of this.known.keys()) {
      if (this.known.size <= this.limit) break;
      this.known.delete(id); // the longest known go first
    }
  }

  /** Draw a picture; false if it is not there yet. */
  paint(canvas, id) {
    const picture = this.known.get(id);
    canvas.parentElement?.classList.toggle("wb-missing", picture === null);
    if (!picture) return picture === null;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return true;
  }
}
