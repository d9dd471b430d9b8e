/** A queue of things to do by their time: a binary heap. */
export class EventQueue {
  #times = new Float64Array(1024);
  #items = new Int32Array(1024);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(timeMs: number, item: number): void {
    if (this.#size === this.#times.length) {
      const [times, items] = [this.#times, this.#items];
      this.#times = new Float64Array(2 * times.length);
      this.#items = new Int32Array(2 * items.length);
      this.#times.set(times);
      this.#items.set(items);
    }
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#times[parent]! <= timeMs) break;
      this.#times[at] = this.#times[parent]!;
      this.#items[at] = this.#items[parent]!;
      at = parent;
    }
    this.#times[at] = timeMs;
    this.#items[at] = item;
  }

  /** Takes the earliest; call only when there is one. */
  pop(): { readonly timeMs: number; readonly item: number } {
    const earliest = { timeMs: this.#times[0]!, item: this.#items[0]! };
    const timeMs = this.#times[--this.#size]!;
    const item = this.#items[this.#size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#times[child + 1]! < this.#times[child]!) child++;
      if (this.#times[child]! >= timeMs) break;
      this.#times[at] = this.#times[child]!;
      this.#items[at] = this.#items[child]!;
      at = child;
    }
    this.#times[at] = timeMs;
    this.#items[at] = item;
    return earliest;
  }
}
